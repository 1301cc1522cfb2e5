import { randomUUID } from 'node:crypto'
import { testUser } from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { createEventBus, defineEvent, defineEvents, giveUp, worker, type EventOf } from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'
import { createTestTables, tenantA, tenantB, type TestTables } from '../postgres/test-tables.ts'

const paid = defineEvent('shop.paid', z.strictObject({ by: z.uuid(), to: z.uuid().nullable() }), {
  audience: ({ by }) => ({ users: [by], roles: ['owner'] }),
  personal: ({ by, to }) => [by, to],
})
const opened = defineEvent('shop.opened', z.strictObject({}), { audience: 'tenant', personal: false })
const topics = defineEvents(paid, opened)
const counting = topics.subscription('counting', ['shop.paid', 'shop.opened'], { attempts: 1 })
const [alice, bob, carol] = [randomUUID(), randomUUID(), randomUUID()]

let tables: TestTables
let rig: Rig
let events: ReturnType<typeof createEventBus<(typeof topics)['schemas']>>

beforeAll(async () => {
  tables = await createTestTables()
})
afterAll(async () => {
  await tables[Symbol.asyncDispose]()
})
beforeEach(() => {
  rig = createRig()
  events = createEventBus({ topics, queue: rig.queue, pool: tables.system, to: [counting] })
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await tables.owner.query('truncate outbox')
})

const pay = (tenantId: string, by: string, to: string | null, causer = by): Promise<void> =>
  tables.asTenant(tenantId, causer, (client) =>
    events.publish(client, 'shop.paid', { by, to }, { principal: testUser({ tenantId, userId: causer }) }),
  )
const kept = async (): Promise<number> => {
  const { rows } = await tables.owner.query<{ count: number }>('select count(*)::int as count from outbox')
  const jobs = await rig.queue
    .bull(counting)
    .getJobCountByTypes('completed', 'failed', 'prioritized', 'delayed')
  return jobs + (rows[0]?.count ?? 0)
}

describe('defineEvent', () => {
  it('says who may hear of an event, and whom it tells of', () => {
    const data = { by: alice, to: null }
    expect(topics.audienceOf({ topic: 'shop.paid', data })).toEqual({ users: [alice], roles: ['owner'] })
    expect(topics.subjectsOf({ topic: 'shop.paid', data })).toEqual([alice])
    expect(topics.audienceOf({ topic: 'shop.opened', data: {} })).toBe('tenant')
    expect(topics.audienceOf({ topic: 'shop.closed', data: {} })).toEqual({})
    type Event = EventOf<(typeof topics)['schemas']>
    expectTypeOf<Extract<Event, { topic: 'shop.paid' }>['data']['by']>().toEqualTypeOf<string>()
  })

  it('demands both, and refuses what it does not know', () => {
    const schema = z.strictObject({})
    expect(() => defineEvent('a', schema, { personal: false } as never)).toThrow('audience')
    expect(() => defineEvent('a', schema, { audience: 'tenant' } as never)).toThrow('personal')
    expect(() => defineEvent('a', schema, { audience: { role: ['x'] }, personal: false } as never)).toThrow(
      '"roles"',
    )
    expect(() => defineEvent('a', schema, { audience: 'tenant', personal: false, who: 1 } as never)).toThrow(
      'who',
    )
    expect(() => defineEvents(paid, paid)).toThrow('shop.paid is defined twice')
  })
})

describe('erase', () => {
  it('removes the traces of a user from the queue, and waits for what is on its way', async () => {
    await pay(tenantA, alice, bob)
    await pay(tenantA, carol, bob)
    await pay(tenantA, bob, carol, alice)
    await pay(tenantB, alice, null)
    expect(await events.erase({ tenantId: tenantA, userId: alice })).toEqual({ erased: 0, pending: 2 })
    const seen: string[] = []
    await rig.start(
      worker(counting, { queue: rig.queue }, ({ payload: { data } }) => {
        seen.push('by' in data ? data.by : '')
        if (seen.length === 1) throw giveUp('broken')
      }),
    )
    await rig.start(events.relay)
    await until(async () => seen.length === 4 && (await kept()) === 4)
    await until(async () => (await events.erase({ tenantId: tenantA, userId: alice })).pending === 0)
    await until(async () => (await kept()) === 2)
    // Of another user's, one tells of bob; the other tenant's stays.
    await until(async () => (await events.erase({ tenantId: tenantA, userId: bob })).erased === 1)
    expect(await kept()).toBe(1)
    expect(await events.erase({ tenantId: tenantB })).toEqual({ erased: 1, pending: 0 })
    expect(await kept()).toBe(0)
  })

  it('removes dead events from the outbox', async () => {
    await pay(tenantA, carol, alice)
    await pay(tenantA, carol, null)
    await tables.owner.query('update outbox set dead_at = now()')
    expect(await events.erase({ tenantId: tenantA, userId: alice })).toEqual({ erased: 1, pending: 0 })
    expect(await events.erase({ tenantId: tenantA })).toEqual({ erased: 1, pending: 0 })
  })
})
