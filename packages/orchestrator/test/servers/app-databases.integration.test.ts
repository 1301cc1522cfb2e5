import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { startPostgres, type PostgresServer } from '../../src/infrastructure.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { provisionApps } from '../../src/servers/app-databases.ts'
import { withClient } from '../../src/servers/with-client.ts'
import { openSecrets } from '../../src/state/secrets.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let server: PostgresServer
let folder: string
beforeAll(async () => {
  server = await startPostgres({ durable: false })
})
afterAll(() => server.stop())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qd-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const secretsFile = (): string => join(folder, 'secrets.json')

const planOf = (project: string, ...names: string[]): Plan =>
  ({ project, apps: names.map((name) => ({ name, requires: { postgres: true } })) }) as unknown as Plan

const query = (url: string, sql: string): Promise<unknown[]> =>
  withClient(url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows)

describe('provisionApps', () => {
  it('ends a rotation that failed in the middle, so that no login has a password that no file has', async () => {
    const plan = planOf('turn', 'a', 'b')
    const before = await provisionApps(plan, server.url, openSecrets(secretsFile()))
    // The second one cannot be done: its database has become another's.
    await query(server.url, 'create role stranger')
    await query(server.url, 'alter database turn_b owner to stranger')
    await query(new URL('/turn_b', server.url).href, 'create table theirs ()')
    await expect(
      provisionApps(plan, server.url, openSecrets(secretsFile()), { rotate: true }),
    ).rejects.toThrow('belongs to stranger')

    await query(server.url, 'alter database turn_b owner to turn_b_owner')
    const after = await provisionApps(plan, server.url, openSecrets(secretsFile()))
    for (const app of ['a', 'b']) {
      await expect(query(before[app]?.url ?? '', 'select 1')).rejects.toMatchObject({ code: '28P01' })
      expect(await query(after[app]?.url ?? '', 'select 1 as one')).toEqual([{ one: 1 }])
    }
    expect(openSecrets(secretsFile()).names.filter((name) => name.startsWith('next-'))).toEqual([])
  })

  it('refuses a database that another project has by the same name, instead of telling how to take it', async () => {
    await provisionApps(planOf('shop-a', 'b'), server.url, openSecrets(secretsFile()))
    const other = openSecrets(join(folder, 'other.json'))
    await expect(provisionApps(planOf('shop', 'a-b'), server.url, other)).rejects.toThrow(
      'The database shop_a_b is that of shop-a/b, and that of shop/a-b would have the same name.',
    )
  })
})

describe('withClient', () => {
  it('survives a connection that breaks while no statement runs', async () => {
    const work = withClient(server.url, async (client) => {
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
      const ended = new Promise((resolve) => void client.once('end', resolve))
      await query(server.url, `select pg_terminate_backend(${rows[0]?.pid})`)
      await ended
      return client.query('select 1')
    })
    await expect(work).rejects.toThrow()
  })
})
