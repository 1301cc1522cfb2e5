import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomUUID } from 'node:crypto'
import { pruneInbox, withInbox } from '../../src/index.ts'
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

  it('tells consumers apart, and tenants too', async () => {
    const id = randomUUID()
    expect(await take(id)).toBe(true)
    expect(await take(id, tenantA, 'search')).toBe(true)
    expect(await take(id, tenantB)).toBe(true)
  })

  it('takes ids of events and tenants that are no UUIDs, and work for no tenant', async () => {
    expect(await take('k-7Zb', 'acme')).toBe(true)
    expect(await take('k-7Zb', 'acme')).toBe(false)
    const sweep = { consumer: 'sweep', eventId: 'schedule-default-1000', tenantId: null }
    const run = () => withInbox(tables.system, sweep, () => Promise.resolve())
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
