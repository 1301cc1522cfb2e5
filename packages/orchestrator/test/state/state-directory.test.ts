import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
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
