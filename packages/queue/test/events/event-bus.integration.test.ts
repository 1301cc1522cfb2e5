import { testUser } from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { createEventBus, defineTopics, worker, type EventBus, type EventOf } from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'
import { alice, createTestTables, tenantA, type TestTables } from '../postgres/test-tables.ts'

const schemas = {
  'shop.ordered': z.strictObject({ amount: z.string().transform(Number) }),
  'shop.shipped': z.strictObject({ parcel: z.string() }),
}
const topics = defineTopics(schemas)
const billing = topics.subscription('billing', ['shop.ordered'])
const archive = topics.subscription('archive', ['shop.ordered', 'shop.shipped'], { attempts: 2 })
const user = testUser({ tenantId: tenantA, userId: alice })

let tables: TestTables
let rig: Rig
let events: EventBus<typeof schemas>

beforeAll(async () => {
  tables = await createTestTables()
})
afterAll(async () => {
  await tables[Symbol.asyncDispose]()
})
beforeEach(() => {
  rig = createRig()
  events = createEventBus({ topics, queue: rig.queue, pool: tables.system, to: [billing, archive] })
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await tables.owner.query('truncate outbox')
})

describe('an event bus', () => {
  it('brings an event to each of its subscribers, in the name of who caused it', async () => {
    const seen: unknown[] = []
    await rig.start(
      worker(billing, { queue: rig.queue }, ({ payload: { topic, data }, principal }) =>
        seen.push(['billing', topic, data, principal.tenantId]),
      ),
    )
    await rig.start(
      worker(archive, { queue: rig.queue }, ({ payload: { topic, data }, principal }) =>
        seen.push(['archive', topic, data, principal.tenantId]),
      ),
    )
    await rig.start(events.relay)
    await tables.asTenant(tenantA, alice, async (client) => {
      await events.publish(client, 'shop.ordered', { amount: '7' }, { principal: user })
      await events.publish(client, 'shop.shipped', { parcel: 'p' }, { principal: user })
    })
    await until(() => seen.length === 3)
    expect(seen.toSorted()).toEqual([
      ['archive', 'shop.ordered', { amount: 7 }, tenantA],
      ['archive', 'shop.shipped', { parcel: 'p' }, tenantA],
      ['billing', 'shop.ordered', { amount: 7 }, tenantA],
    ])
  })

  it('publishes nothing when the transaction rolls back, or when the data is not what the topic says', async () => {
    await expect(
      tables.asTenant(tenantA, alice, async (client) => {
        await events.publish(client, 'shop.shipped', { parcel: 'p' }, { principal: user })
        await events.publish(client, 'shop.shipped', { parcel: 1 } as never, { principal: user })
      }),
    ).rejects.toMatchObject({ code: 'ERR_CORE_INVALID_INPUT', message: expect.stringContaining('/parcel') })
    const { rows } = await tables.owner.query('select 1 from outbox')
    expect(rows).toEqual([])
  })

  it('refuses a topic that is not defined, with the nearest one', async () => {
    await expect(events.publish(tables.owner, 'shop.orderd' as never, {} as never)).rejects.toThrow(
      'publish: there is no topic "shop.orderd". Did you mean "shop.ordered"?',
    )
    const foreign = defineTopics({ other: z.strictObject({}) }).subscription('foreign', ['other'])
    expect(() => createEventBus({ topics, queue: rig.queue, pool: tables.system, to: [foreign] })).toThrow(
      'createEventBus.to: foreign: there is no topic "other".',
    )
  })

  it('refuses collaborators that are none, and options that it does not know', async () => {
    const options = { topics, queue: rig.queue, pool: tables.system, to: [] }
    expect(() => createEventBus({ ...options, queue: {} } as never)).toThrow('createEventBus.queue')
    expect(() => createEventBus({ ...options, to: 'counting' } as never)).toThrow('createEventBus.to')
    expect(() => createEventBus({ ...options, too: [] } as never)).toThrow('Did you mean "to"?')
    await expect(
      events.publish(tables.owner, 'shop.ordered', {} as never, { kee: 'k' } as never),
    ).rejects.toThrow('Did you mean "key"?')
  })
})

describe('a subscription', () => {
  it('is the job of its consumer, with the options of a job', () => {
    expect(archive).toMatchObject({ name: 'archive', attempts: 2, topics: ['shop.ordered', 'shop.shipped'] })
    expect(() => topics.subscription('none', [])).toThrow('subscription none: name at least one topic.')
    expect(() => topics.subscription('typo', ['shop.shiped' as 'shop.shipped'])).toThrow(
      'Did you mean "shop.shipped"?',
    )
    expect(() => defineTopics({ 'Not a topic': z.string() })).toThrow('is no topic such as')
    expect(() => defineTopics({ topic: {} as never })).toThrow('is not a Standard Schema')
  })

  it('gives the data of each topic its type', () => {
    type Event = EventOf<typeof schemas>
    expectTypeOf<Extract<Event, { topic: 'shop.ordered' }>['data']>().toEqualTypeOf<{ amount: number }>()
    worker(billing, { queue: rig.queue }, ({ payload }) => {
      expectTypeOf(payload.topic).toEqualTypeOf<'shop.ordered'>()
      expectTypeOf(payload.data.amount).toEqualTypeOf<number>()
    })
  })
})
