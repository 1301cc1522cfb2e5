import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { prepareStateDirectory, stateDirectory } from '../../src/state/state-directory.ts'

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
