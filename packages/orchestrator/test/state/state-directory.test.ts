import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  defaultStateDirectory,
  existingStateDirectory,
  prepareStateDirectory,
  stateDirectory,
} from '../../src/state/state-directory.ts'

let base: string

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'q-'))
})

afterEach(() => {
  rmSync(base, { recursive: true })
})

const permissions = (path: string): number => statSync(path).mode & 0o777

describe('prepareStateDirectory', () => {
  it('makes the folders above as anybody would, so that a server of another user can get through', () => {
    const state = stateDirectory(join(base, 'lib', 'project'))
    prepareStateDirectory(state)
    expect(permissions(join(base, 'lib')) & 0o011).toBe(0o011)
  })

  it('keeps what belongs to a run to its user', () => {
    const state = stateDirectory(join(base, 'project'))
    prepareStateDirectory(state)
    expect(permissions(state.root) & 0o066).toBe(0)
    expect([permissions(state.run), permissions(state.logs)]).toEqual([0o700, 0o700])
  })
})

describe('a data folder', () => {
  const mode = (path: string): number => statSync(path).mode & 0o7777

  it('is not one that has something else in it, and that one is left as it is', () => {
    const root = join(base, 'shared')
    mkdirSync(root)
    writeFileSync(join(root, 'letter.txt'), '')
    chmodSync(root, 0o1777)
    expect(() => prepareStateDirectory(stateDirectory(root))).toThrow(
      `${root} cannot be used: it is no data folder of an ecosystem, and has "letter.txt" in it`,
    )
    expect(mode(root)).toBe(0o1777)
    expect(readdirSync(root)).toEqual(['letter.txt'])
  })

  it.each([['logs'], ['run', 'logs']])('is not one that has only %j', (...names) => {
    for (const name of names) mkdirSync(join(base, name))
    expect(() => prepareStateDirectory(stateDirectory(base))).toThrow('it is no data folder of an ecosystem')
  })

  it('is one that is empty, apart from what a mounted disk has, and keeps the rights that it grants', () => {
    mkdirSync(join(base, 'lost+found'))
    chmodSync(base, 0o1777)
    const state = stateDirectory(base)
    prepareStateDirectory(state)
    prepareStateDirectory(state)
    expect(mode(base)).toBe(0o1777)
  })

  it('is one that was used before, whatever lies in it by now', () => {
    writeFileSync(join(base, 'identity.json'), '{}')
    writeFileSync(join(base, 'notes.txt'), '')
    expect(() => prepareStateDirectory(stateDirectory(base))).not.toThrow()
  })

  it.each(['', ' '])('has a name, and %j is none', (name) => {
    expect(() => stateDirectory(name)).toThrow('The data folder has an empty name')
  })

  it.runIf(process.platform === 'linux')('is refused where no folder can be made', () => {
    expect(() => prepareStateDirectory(stateDirectory('/proc/quintet/data'))).toThrow(
      'The data folder /proc/quintet/data cannot be used: ENOENT',
    )
  })
})

describe('defaultStateDirectory', () => {
  it('is the folder that a file .quintet-data beside the ecosystem file names', () => {
    const config = join(base, 'quintet.config.ts')
    writeFileSync(join(base, '.quintet-data'), './kept\n')
    expect(defaultStateDirectory('shop', config)).toBe(join(base, 'kept'))
    expect(existingStateDirectory(config)).toBe(join(base, 'kept'))
    writeFileSync(join(base, '.quintet-data'), '\n')
    expect(() => defaultStateDirectory('shop', config)).toThrow(
      `${join(base, '.quintet-data')}: must hold one line, the path of the data folder`,
    )
  })

  it('stays the same when the project gets another name', () => {
    const env = { QUINTET_STATE_DIRECTORY: base }
    const config = join(base, 'quintet.config.ts')
    const folder = defaultStateDirectory('shop', config, env)
    mkdirSync(folder, { recursive: true })
    expect(defaultStateDirectory('store', config, env)).toBe(folder)
  })
})
