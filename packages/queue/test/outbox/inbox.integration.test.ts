import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomBytes, randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import type { PoolClient } from 'pg'
import { z } from 'zod'
import { testUser } from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { defineJob, pruneInbox, withInbox, worker } from '../../src/index.ts'
import { createRig } from '../jobs/rig.ts'
import { createTestTables, tenantA, tenantB, type TestTables } from '../postgres/test-tables.ts'

let tables: TestTables
beforeAll(async () => {
  tables = await createTestTables()
})
afterAll(async () => {
  await tables[Symbol.asyncDispose]()
})

const take = (eventId: string, tenantId = tenantA, consumer = 'analytics', fail = false): Promise<boolean> =>
  tables.asTenant(tenantId, null, (client) =>
    withInbox(client, { consumer, eventId, tenantId }, async () => {
      await client.query('insert into effects values ($1)', [eventId])
      if (fail) throw new Error('crash')
    }),
  )
const effects = async (eventId: string): Promise<number> =>
  (await tables.owner.query('select 1 from effects where event_id = $1', [eventId])).rowCount ?? 0

async function inTransaction<Result>(run: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await tables.system.connect()
  await client.query('begin')
  const result = await run(client)
  await client.query('commit')
  client.release()
  return result
}

describe('withInbox', () => {
  it('has its effect once, however often the event comes', async () => {
    const id = randomUUID()
    expect(await take(id)).toBe(true)
    expect(await take(id)).toBe(false)
    expect(await effects(id)).toBe(1)
  })

  it('has its effect once when the event comes many times at once', async () => {
    const id = randomUUID()
    const ran = await Promise.all(Array.from({ length: 4 }, () => take(id)))
    expect(ran.filter(Boolean)).toHaveLength(1)
    expect(await effects(id)).toBe(1)
  })

  it('forgets the event when the effect is rolled back', async () => {
    const id = randomUUID()
    await expect(take(id, tenantA, 'analytics', true)).rejects.toThrow('crash')
    expect(await effects(id)).toBe(0)
    expect(await take(id)).toBe(true)
  })

  it('has the effect of a job once, though its envelope was captured in Redis and added again', async () => {
    await using rig = createRig()
    const job = defineJob('grant', { payload: z.string(), retention: { completed: 0 } })
    const ran: boolean[] = []
    await rig.start(worker(job, { queue: rig.queue }, async ({ jobId }) => void ran.push(await take(jobId))))
    const bull = rig.queue.bull(job)
    await bull.pause()
    const { id } = await rig.queue.enqueue(job, 'x', { principal: testUser({ tenantId: tenantA }) })
    const captured: unknown = (await bull.getJob(id))?.data
    await bull.resume()
    await until(async () => ran.length === 1 && (await bull.getJob(id)) === undefined)
    await bull.add(job.name, captured, { jobId: id })
    await until(() => ran.length === 2)
    expect(ran).toEqual([true, false])
    expect(await effects(id)).toBe(1)
  })

  it('tells consumers apart, and tenants too', async () => {
    const id = randomUUID()
    expect(await take(id)).toBe(true)
    expect(await take(id, tenantA, 'search')).toBe(true)
    expect(await take(id, tenantB)).toBe(true)
  })

  it.each([
    ['a long event id', { eventId: randomBytes(4_500).toString('base64') }],
    ['an event id with a NUL', { eventId: 'a\0' }],
    ['an empty event id', { eventId: '' }],
    ['a consumer with half of a surrogate pair', { consumer: '\ud800' }],
    ['a long tenant id', { tenantId: 't'.repeat(600) }],
  ])('refuses %s without breaking the transaction', async (_what, part) => {
    const event = { consumer: 'analytics', eventId: randomUUID(), tenantId: tenantA }
    await tables.asTenant(tenantA, null, async (client) => {
      const refused = withInbox(client, { ...event, ...part }, () => Promise.resolve())
      await expect(refused).rejects.toMatchObject({ code: 'ERR_QUEUE_BAD_NAME', kind: 'invalid-input' })
      expect(await withInbox(client, event, () => Promise.resolve())).toBe(true)
    })
  })

  it('refuses what is no transaction, where the memory would stay though the effect fails', async () => {
    const event = { consumer: 'analytics', eventId: randomUUID(), tenantId: tenantA }
    const db = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool: tables.system }) })
    for (const executor of [tables.system, db]) {
      await expect(withInbox(executor, event, () => Promise.resolve())).rejects.toThrow(
        'withInbox: needs a transaction',
      )
    }
    expect(
      (await tables.owner.query('select 1 from inbox where event_id = $1', [event.eventId])).rowCount,
    ).toBe(0)
    await db.transaction().execute(async (trx) => {
      expect(await withInbox(trx, event, () => Promise.resolve())).toBe(true)
    })
  })

  it('refuses an event with unknown members by name', async () => {
    const event = { consumer: 'analytics', eventid: '1', tenantId: tenantA } as never
    await expect(
      tables.asTenant(tenantA, null, (client) => withInbox(client, event, () => Promise.resolve())),
    ).rejects.toThrow('Did you mean "eventId"?')
  })

  it('takes ids of events and tenants that are no UUIDs, and work for no tenant', async () => {
    expect(await take('k-7Zb', 'acme')).toBe(true)
    expect(await take('k-7Zb', 'acme')).toBe(false)
    const sweep = { consumer: 'sweep', eventId: 'schedule-default-1000', tenantId: null }
    const run = () => inTransaction((client) => withInbox(client, sweep, () => Promise.resolve()))
    expect([await run(), await run()]).toEqual([true, false])
  })

  it('lets no tenant write for another', async () => {
    await expect(
      tables.asTenant(tenantA, null, (client) =>
        withInbox(client, { consumer: 'analytics', eventId: randomUUID(), tenantId: tenantB }, () =>
          Promise.resolve(),
        ),
      ),
    ).rejects.toMatchObject({ code: '42501' })
  })
})

describe('pruneInbox', () => {
  it('forgets what was taken long ago', async () => {
    await tables.owner.query('truncate inbox')
    await take(randomUUID())
    await take(randomUUID())
    await tables.owner.query(
      `update inbox set received_at = now() - interval '8 days' where event_id = (select event_id from inbox limit 1)`,
    )
    expect(await pruneInbox(tables.system, '7d')).toBe(1)
    expect(await pruneInbox(tables.system, '7d')).toBe(0)
  })
})
