import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findViolations } from './boundaries.ts'
import { rooms } from './rooms.ts'

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

describe('the rooms in ARCHITECTURE.md', () => {
  it.each(Object.entries(rooms))('are those of the gate: %s', async (name, levels) => {
    const text = await readFile(join(import.meta.dirname, '../../ARCHITECTURE.md'), 'utf8')
    // The page shows folders; single files stand in the list alone.
    const folders = levels.map((level) => level.split(' ').filter((room) => !room.includes('.')))
    const shown = folders
      .filter((level) => level.length > 0)
      .map((level) => level.map((room) => `\`${room}\``).join(' '))
    expect(text).toContain(`| ${name} | ${shown.join(' < ')} |`)
  })
})

describe('boundaries', () => {
  it('passes what keeps to the direction of dependencies', async () => {
    await plant({
      'packages/core/src/index.ts': 'export const one: number = 1\n',
      'packages/redis/src/index.ts': "import './client.ts'\n",
      'packages/redis/src/client.ts': 'export const client: number = 1\n',
    })
    expect(findViolations(root)).toEqual([])
  })

  it.each([
    [
      'core that imports another package',
      'packages/core/src/index.ts',
      '../../redis/src/index.ts',
      'core-does-not-import-redis',
    ],
    [
      'a base package that imports its neighbour',
      'packages/rls/src/index.ts',
      '../../redis/src/index.ts',
      'rls-does-not-import-redis',
    ],
    [
      'an upper package that imports its neighbour',
      'packages/auth/src/index.ts',
      '../../queue/src/index.ts',
      'auth-does-not-import-queue',
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
      'packages-import-packages-alone',
    ],
  ])('finds %s', async (_, from, to, rule) => {
    const target = join(dirname(from), to)
    await plant({ [from]: `import '${to}'\n`, [target]: 'export const planted: number = 1\n' })
    expect(findViolations(root)).toContain(`${rule}: ${from} -> ${target}`)
  })

  it.each([
    [
      'a package that is imported by its name',
      "import '@quintet/redis'\n",
      'core-does-not-import-redis: packages/core/src/index.ts -> packages/redis',
    ],
    [
      'an import of types alone',
      "import type { Redis } from '@quintet/redis'\n",
      'core-does-not-import-redis: packages/core/src/index.ts -> packages/redis',
    ],
    [
      'an import at run time',
      "await import('@quintet/redis')\n",
      'core-does-not-import-redis: packages/core/src/index.ts -> packages/redis',
    ],
    [
      'a re-export',
      "export { createRedisClients } from '@quintet/redis'\n",
      'core-does-not-import-redis: packages/core/src/index.ts -> packages/redis',
    ],
  ])('finds %s', async (_, source, violation) => {
    await plant({ 'packages/core/src/index.ts': source })
    expect(findViolations(root)).toContain(violation)
  })

  it('refuses to pass what it cannot read', async () => {
    await plant({ 'packages/core/src/index.ts': 'import {\n' })
    expect(() => findViolations(root)).toThrow('packages/core/src/index.ts cannot be parsed')
  })

  it('finds modules that import each other', async () => {
    await plant({
      'packages/core/src/a.ts': "import { b } from './b.ts'\nexport const a: number = 1 + b\n",
      'packages/core/src/b.ts': "import { a } from './a.ts'\nexport const b: number = 1 + a\n",
    })
    expect(findViolations(root).some((violation) => violation.startsWith('no-circles'))).toBe(true)
  })

  it('finds modules that import each other for their types, where the rooms have an order', async () => {
    await plant({
      'packages/core/src/options/a.ts': "import type { B } from './b.ts'\nexport type A = B | 1\n",
      'packages/core/src/options/b.ts': "import type { A } from './a.ts'\nexport type B = A | 2\n",
    })
    expect(findViolations(root).some((violation) => violation.startsWith('no-circles'))).toBe(true)
  })

  it.each([
    [
      'a room that imports one above it',
      'options/size.ts',
      '../pipeline/pipeline.ts',
      'options-is-not-above-pipeline',
    ],
    ['a room that imports its neighbour', 'access/rule.ts', '../config/env.ts', 'access-is-not-above-config'],
    ['a room that imports an entry', 'app/start.ts', '../index.ts', 'rooms-do-not-import-entries'],
    [
      'a room that is a file and imports a folder',
      'errors.ts',
      './options/size.ts',
      'errors.ts-is-not-above-options',
    ],
    ['a room without a level', 'helpers/size.ts', '../errors.ts', 'room-has-no-level'],
  ])('finds %s', async (_, from, to, rule) => {
    const source = `packages/core/src/${from}`
    const target = join(dirname(source), to)
    await plant({ [source]: `import type {} from '${to}'\n`, [target]: 'export const planted: number = 1\n' })
    expect(findViolations(root)).toEqual([`${rule}: ${source} -> ${target}`])
  })

  it('passes imports of lower rooms, of the same room, and those of an entry', async () => {
    await plant({
      'packages/core/src/settings.ts': "export { a } from './settings/a.ts'\n",
      'packages/core/src/settings/a.ts':
        "import '../errors.ts'\nimport './b.ts'\nexport const a: number = 1\n",
      'packages/core/src/settings/b.ts': "import '../options/c.ts'\n",
      'packages/core/src/options/c.ts': 'export const c: number = 1\n',
      'packages/core/src/errors.ts': 'export const errors: number = 1\n',
    })
    expect(findViolations(root)).toEqual([])
  })

  it('finds a folder that holds too many files', async () => {
    const files = Array.from({ length: 16 }, (_, index) => [
      `packages/core/src/options/o${index}.ts`,
      'export {}\n',
    ])
    await plant(Object.fromEntries(files))
    expect(findViolations(root)).toEqual(['no-crowded-folders: packages/core/src/options holds 16 files'])
  })
})
