import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/plan/plan.ts'
import { describeUnusedDatabases } from '../../src/servers/app-databases.ts'
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
