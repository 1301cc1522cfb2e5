import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commentExamples, markdownExamples } from './examples.ts'
import { readPackages } from './packages.ts'
import { printedPattern, runExample } from './run-example.ts'
import { typeCheck } from './type-check.ts'

const root = join(import.meta.dirname, '../..')
const packages = await readPackages(root)

describe('the examples of READMEs and doc comments', () => {
  it('are right for the compiler', { timeout: 120_000 }, async () => {
    expect(await typeCheck(root, packages)).toEqual([])
  })

  it('in doc comments use what they explain', () => {
    const others = packages
      .flatMap(({ examples }) => examples)
      .filter(({ subject, code }) => subject !== undefined && !new RegExp(`\\b${subject}\\b`).test(code))
    expect(others.map(({ file, line, subject }) => `${file}:${line}: ${String(subject)}`)).toEqual([])
  })
})

describe('an example that shows what it prints', () => {
  const shown = packages.flatMap(({ examples }) => examples.filter(({ prints }) => prints !== undefined))

  it.for(shown)('prints it: $file:$line', { timeout: 60_000 }, async (example) => {
    expect(await runExample(root, example)).toMatch(printedPattern(example.prints ?? ''))
  })
})

describe('examples', () => {
  it('of a page are its TypeScript blocks, with their lines, their files and what they print', () => {
    const page =
      '# P\n\n```ts\n// src/a.ts\nlet a\n```\n\n```text\n1\n```\n\n```ts\nimport b\n```\n\n```sh\nx\n```\n'
    expect(markdownExamples('README.md', page)).toEqual([
      {
        file: 'README.md',
        line: 4,
        code: '// src/a.ts\nlet a',
        isExcerpt: true,
        path: 'src/a.ts',
        prints: '1\n',
      },
      { file: 'README.md', line: 13, code: 'import b', isExcerpt: false },
    ])
  })

  it('of a module are those of its doc comments, with what they explain', () => {
    const module =
      '/**\n * Adds.\n *\n * @example\n * add(1)\n *   .then()\n * @see there\n */\nexport function add() {}\n'
    expect(commentExamples('add.ts', module)).toEqual([
      { file: 'add.ts', line: 5, code: 'add(1)\n  .then()', isExcerpt: true, subject: 'add' },
    ])
  })
})
