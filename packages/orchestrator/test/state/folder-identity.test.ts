import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { claimFolder } from '../../src/state/folder-identity.ts'
import { openSecrets } from '../../src/state/secrets.ts'
import { stateDirectory } from '../../src/state/state-directory.ts'

let base: string

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'q-'))
})

afterEach(() => rmSync(base, { recursive: true }))

const configFile = '/project/quintet.config.ts'

describe('claimFolder', () => {
  it('refuses another project on databases, which are named after the first one', () => {
    const state = stateDirectory(base)
    const secrets = openSecrets(state.secretsFile)
    claimFolder(state, { project: 'shop', configFile }, secrets)
    claimFolder(state, { project: 'store', configFile }, secrets)
    secrets.get('database:orders:owner')
    expect(() => claimFolder(state, { project: 'shop', configFile }, secrets)).toThrow(
      'has the databases of project "store", and the ecosystem file says "shop": its apps would start on empty databases',
    )
    expect(() => claimFolder(state, { project: 'store', configFile }, secrets)).not.toThrow()
  })

  it('says that a new folder is empty while the project has another one', () => {
    const env = { QUINTET_STATE_DIRECTORY: base }
    const [old, fresh] = ['shop-1', 'shop-2'].map((name) => {
      const state = stateDirectory(join(base, name))
      mkdirSync(state.root, { recursive: true })
      return state
    })
    if (!old || !fresh) throw new Error('There are two.')
    const claim = (state: typeof old): string | undefined =>
      claimFolder(state, { project: 'shop', configFile }, openSecrets(state.secretsFile), env)
    expect(claim(old)).toBeUndefined()
    expect(claim(fresh)).toContain(`Project "shop" has data in ${old.root} too`)
    expect(claim(fresh)).toBeUndefined()
  })
})
