import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findViolations } from './boundaries.ts'

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'quintet-boundaries-'))
})

afterEach(async () => {
  await rm(root, { recursive: true, force: true })
})

async function plant(files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
}

describe('boundaries', () => {
  it('passes what keeps to the direction of dependencies', async () => {
    await plant({
      'packages/core/src/index.ts': 'export const one: number = 1\n',
      'packages/redis/src/index.ts': "import './client.ts'\n",
      'packages/redis/src/client.ts': 'export const client: number = 1\n',
    })
    expect(await findViolations(root)).toEqual([])
  })

  it.each([
    [
      'core that imports another package',
      'packages/core/src/index.ts',
      '../../redis/src/index.ts',
      'core-imports-nothing-of-ours',
    ],
    [
      'a base package that imports its neighbour',
      'packages/rls/src/index.ts',
      '../../redis/src/index.ts',
      'rls-imports-core-alone',
    ],
    [
      'an upper package that imports its neighbour',
      'packages/auth/src/index.ts',
      '../../queue/src/index.ts',
      'auth-imports-no-neighbour',
    ],
    [
      'a path into another package',
      'packages/auth/src/index.ts',
      '../../core/src/index.ts',
      'no-deep-imports',
    ],
    [
      'a package that imports an app',
      'packages/server/src/index.ts',
      '../../../apps/example-auth/src/index.ts',
      'nobody-imports-apps-or-bench',
    ],
  ])('finds %s', async (_, from, to, rule) => {
    const target = join(dirname(from), to)
    await plant({ [from]: `import '${to}'\n`, [target]: 'export const planted: number = 1\n' })
    expect(await findViolations(root)).toContain(`${rule}: ${from} -> ${target}`)
  })

  it('finds modules that import each other', async () => {
    await plant({
      'packages/core/src/a.ts': "import { b } from './b.ts'\nexport const a: number = 1 + b\n",
      'packages/core/src/b.ts': "import { a } from './a.ts'\nexport const b: number = 1 + a\n",
    })
    expect((await findViolations(root)).some((violation) => violation.startsWith('no-circles'))).toBe(true)
  })
})
