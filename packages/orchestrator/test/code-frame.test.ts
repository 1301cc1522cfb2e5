import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const errors = new URL('../src/errors.ts', import.meta.url).href

it.each([
  [
    'a syntax error, also in a module that is imported',
    { 'main.ts': `import './bad.ts'\n`, 'bad.ts': 'export default {\n  a: 1\n  b: 2,\n}\n' },
    /Expected ',', got 'ident'[\s\S]*\/bad\.ts:3\n[\s\S]*  b: 2,\n  \^/,
  ],
  [
    'a file that is imported and not there',
    { 'main.ts': `export const a = 1\nimport './nope.ts'\n` },
    /Cannot find module [\s\S]*\/main\.ts:2\nimport '\.\/nope\.ts'\n {10}\^{7}/,
  ],
  [
    'a package that is imported and not there',
    { 'main.ts': `import x from 'no-such-package'\n` },
    /Cannot find package 'no-such-package'[\s\S]*\/main\.ts:1\nimport x from 'no-such-package'\n {15}\^{15}/,
  ],
  [
    'a name that a module does not export',
    { 'main.ts': `import { b } from './a.ts'\n`, 'a.ts': 'export const a = 1\n' },
    /does not provide an export named 'b'[\s\S]*\/main\.ts:1\nimport \{ b \}/,
  ],
])('describeError shows the place of %s', async (_name, files, expected) => {
  const folder = await mkdtemp(join(tmpdir(), 'q-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  // In a process of its own: the test runner loads modules in another way.
  const code = `
    const { describeError } = await import(${JSON.stringify(errors)})
    await import(${JSON.stringify(join(folder, 'main.ts'))}).catch((error) => console.log(describeError(error)))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
  expect(stdout).toMatch(expected)
  await rm(folder, { recursive: true })
})
