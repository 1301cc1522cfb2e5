import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { testUser } from '@quintet/core/testing'
import { countedEvents, exportParts } from '@quintet/example-platform/events'
import {
  openAppDatabase,
  requestExport,
  startApp,
  tellRemoval,
  type AppDatabase,
  type StartedApp,
} from '@quintet/example-platform/testing'
import { postgresUrl, until } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import analytics from '../src/bootstrap.ts'
import { pruneCounts } from '../src/counts.ts'
import type { AnalyticsTables } from '../src/schema.ts'

const source = resolve(import.meta.dirname, '../src')

let database: AppDatabase
let app: StartedApp

beforeAll(async () => {
  database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  app = await startApp(analytics, { baseUrl: source, database })
})

afterAll(async () => {
  await app[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

function openDb({ pool }: AppDatabase): Kysely<AnalyticsTables> {
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

/** Delivers an event as the relay of another app does. */
const deliver = (tenantId: string, day: string, id: string = randomUUID()): Promise<unknown> =>
  app.jobs.enqueue(
    countedEvents,
    {
      id,
      topic: 'media.object-removed',
      occurredAt: `${day}T23:59:59.000Z`,
      data: { objectId: randomUUID(), ownerId: randomUUID(), name: 'a' },
    },
    { principal: testUser({ tenantId, userId: randomUUID() }) },
  )

async function counts(tenantId: string, range: object = {}, status = 200): Promise<unknown> {
  const response = await fetch(`${app.url()}/rpc/stats/counts`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(await app.identity.signIn({ tenantId, userId: randomUUID() })),
    },
    body: JSON.stringify(range),
  })
  expect(response.status).toBe(status)
  return ((await response.json()) as { items: unknown }).items
}

it('counts each event once, over all days, for its tenant alone', async () => {
  const [tenant, other] = [randomUUID(), randomUUID()]
  const twice = randomUUID()
  await deliver(tenant, '2026-01-31', twice)
  await deliver(tenant, '2026-01-31', twice)
  await deliver(tenant, '2026-02-01')
  await deliver(other, '2026-02-01')
  const counted = (count: number): object[] => [{ topic: 'media.object-removed', count }]
  await until(async () => JSON.stringify(await counts(other)) === JSON.stringify(counted(1)))
  await until(async () => JSON.stringify(await counts(tenant)) === JSON.stringify(counted(2)))
  expect(await counts(randomUUID())).toEqual([])
})

it('counts the days of a range, in all or by day or month', async () => {
  const tenant = randomUUID()
  for (const day of ['2026-01-30', '2026-01-31', '2026-01-31', '2026-02-01']) await deliver(tenant, day)
  const topic = 'media.object-removed'
  await until(async () => JSON.stringify(await counts(tenant)) === JSON.stringify([{ topic, count: 4 }]))
  expect(await counts(tenant, { from: '2026-01-31', to: '2026-01-31' })).toEqual([{ topic, count: 2 }])
  expect(await counts(tenant, { from: '2026-01-31', by: 'day' })).toEqual([
    { topic, count: 2, period: '2026-01-31' },
    { topic, count: 1, period: '2026-02-01' },
  ])
  expect(await counts(tenant, { by: 'month' })).toEqual([
    { topic, count: 3, period: '2026-01-01' },
    { topic, count: 1, period: '2026-02-01' },
  ])
  for (const wrong of [{ from: '2026-02-30' }, { from: '2026-02-01', to: '2026-01-01' }, { by: 'hour' }])
    await counts(tenant, wrong, 400)
})

it('forgets the counts of days that are too long ago', async () => {
  const tenant = randomUUID()
  const daysAgo = (days: number): string =>
    new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
  await deliver(tenant, daysAgo(12))
  await deliver(tenant, daysAgo(2))
  await until(async () => ((await counts(tenant, { by: 'day' })) as unknown[]).length === 2)
  const db = openDb(database)
  expect(await pruneCounts(db, 10)).toBeGreaterThanOrEqual(1)
  expect(await counts(tenant, { by: 'day' })).toMatchObject([{ period: daysAgo(2) }])
})

it('forgets a tenant that is removed', async () => {
  const [tenant, other] = [randomUUID(), randomUUID()]
  for (const each of [tenant, other]) await deliver(each, '2026-01-31')
  const isEmpty = async (each: string): Promise<boolean> => JSON.stringify(await counts(each)) === '[]'
  await until(async () => !(await isEmpty(tenant)) && !(await isEmpty(other)))
  // Before that, it gets what is kept of it; a user has nothing there.
  const parts = async (): Promise<readonly unknown[]> => {
    const jobs = await app.jobs.bull(exportParts).getJobs(['prioritized'])
    return jobs.map(({ data }) => (data as { payload: { rows: unknown } }).payload.rows)
  }
  await requestExport(app.jobs, 'analytics', { tenantId: tenant })
  await until(async () => (await parts()).length === 1)
  await requestExport(app.jobs, 'analytics', { tenantId: tenant, userId: randomUUID() })
  await until(async () => (await parts()).length === 2)
  const count = { kind: 'count', day: '2026-01-31', topic: 'media.object-removed', count: 1 }
  expect(await parts()).toEqual(expect.arrayContaining([[count], []]))
  await tellRemoval(app.jobs, 'analytics', { tenantId: tenant })
  await until(() => isEmpty(tenant))
  expect(await isEmpty(other)).toBe(false)
  await until(async () => {
    const { rows } = await database.systemPool.query('select 1 from inbox where tenant_id = $1', [tenant])
    return rows.length === 0
  })
  expect(await app.jobs.erase(countedEvents, { tenantId: tenant })).toEqual({ erased: 0, pending: 0 })
})

it('tells nobody without a token', async () => {
  const response = await fetch(`${app.url()}/rpc/stats/counts`, { method: 'POST', body: '{}' })
  expect(response.status).toBe(401)
})
