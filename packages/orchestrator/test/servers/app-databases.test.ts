import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/plan/plan.ts'
import { describeUnusedDatabases, openAppDatabases } from '../../src/servers/app-databases.ts'
import { openJournal } from '../../src/holder/journal.ts'
import { claimFolder } from '../../src/state/folder-identity.ts'
import { identify, type ProcessIdentity } from '../../src/processes/process-identity.ts'
import { prepareStateDirectory, stateDirectory } from '../../src/state/state-directory.ts'
import { openSecrets } from '../../src/state/secrets.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'q-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const planOf = (...names: string[]): Plan =>
  ({ apps: names.map((name) => ({ name, requires: { postgres: true } })) }) as unknown as Plan

describe('describeUnusedDatabases', () => {
  it('says so when an app was renamed, and would start on an empty database', () => {
    const secrets = openSecrets(join(folder, 'secrets.json'))
    const make = (app: string): void => {
      for (const login of ['owner', 'login', 'system']) secrets.get(`database:${app}:${login}`)
    }
    expect(describeUnusedDatabases(planOf('shop'), secrets)).toBeUndefined()
    make('shop')
    expect(describeUnusedDatabases(planOf('shop'), secrets)).toBeUndefined()
    expect(describeUnusedDatabases(planOf('shop', 'site'), secrets)).toBeUndefined()
    expect(describeUnusedDatabases(planOf('store'), secrets)).toContain(
      '"store" starts on a new, empty database, and the database of "shop", which is no app any more',
    )
    make('store')
    expect(describeUnusedDatabases(planOf('store'), secrets)).toBeUndefined()
  })
})

describe('openAppDatabases', () => {
  it('starts no server of its own where one goes on without its supervisor', async () => {
    const state = stateDirectory(join(folder, 'data'))
    const plan = { ...planOf('shop'), project: 'shops', postgres: {} } as unknown as Plan
    prepareStateDirectory(state)
    claimFolder(state, plan, openSecrets(state.secretsFile))
    const identity = identify(process.pid) as ProcessIdentity
    const servers = new Map([['postgres', { identity, port: 1, source: 'embedded' }]] as const)
    openJournal(state.journalFile, { processes: new Map(), servers }, () => undefined)
    await expect(openAppDatabases(plan, state, () => undefined)).rejects.toMatchObject({
      code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
      details: { held: 1 },
    })
  })
})
