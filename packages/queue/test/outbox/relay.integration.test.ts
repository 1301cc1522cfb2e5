import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { QuintetError, systemPrincipal } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { redisUrl, until } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createOutbox,
  defineJob,
  deliverTo,
  giveUp,
  relay,
  worker,
  type DeliveredEvent,
  type RelayOptions,
} from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'
import { alice, createTestTables, tenantA, tenantB, type TestTables } from '../postgres/test-tables.ts'

let tables: TestTables
let rig: Rig
const outbox = createOutbox()
const user = testUser({ tenantId: tenantA, userId: alice, roles: ['admin'] })

beforeAll(async () => {
  tables = await createTestTables()
})
afterAll(async () => {
  await tables[Symbol.asyncDispose]()
})
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await tables.owner.query('truncate outbox, inbox, effects')
})

const add = (payload: unknown, key = 'k', topic = 't'): Promise<void> =>
  tables.asTenant(tenantA, alice, (client) => outbox.add(client, { topic, key, payload, principal: user }))
const startRelay = (deliver: RelayOptions['deliver'], options: Partial<RelayOptions> = {}) =>
  rig.start(relay({ pool: tables.system, deliver, poll: '30s', ...options }))
const rows = async (): Promise<number> =>
  Number((await tables.owner.query('select count(*)::int as n from outbox')).rows[0].n)

describe('outbox', () => {
  it('keeps an event exactly when its transaction commits', async () => {
    await add({ n: 1 })
    await expect(
      tables.asTenant(tenantA, alice, async (client) => {
        await outbox.add(client, { topic: 't', key: 'k', payload: { n: 2 }, principal: user })
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    expect(await rows()).toBe(1)
  })

  it('takes a transaction of Kysely', async () => {
    const db = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool: tables.system }) })
    await db
      .transaction()
      .execute((trx) => outbox.add(trx, { topic: 't', key: 'k', payload: [1], principal: user }))
    expect(await rows()).toBe(1)
  })

  it('lets a tenant add events for itself alone, in the name of its user, and read none', async () => {
    const asOther = testUser({ tenantId: tenantB, userId: alice })
    const asSomebody = testUser({ tenantId: tenantA, userId: '00000000-0000-4000-8000-0000000000a2' })
    for (const principal of [asOther, asSomebody, systemPrincipal('x')]) {
      await expect(
        tables.asTenant(tenantA, alice, (client) =>
          outbox.add(client, { topic: 't', key: 'k', payload: 1, principal }),
        ),
      ).rejects.toMatchObject({ code: '42501' })
    }
    await add(1)
    for (const statement of [
      'select * from outbox',
      'update outbox set topic = $$x$$',
      'delete from outbox',
    ]) {
      await expect(
        tables.asTenant(tenantA, alice, (client) => client.query(statement)),
      ).rejects.toMatchObject({ code: '42501' })
    }
  })

  it('belongs to somebody', async () => {
    await expect(outbox.add(tables.system, { topic: 't', key: 'k', payload: 1 })).rejects.toThrow(
      'give a principal',
    )
  })
})

describe('relay', () => {
  it('hands events on as soon as they are committed, with who caused them but without roles', async () => {
    const seen: DeliveredEvent[] = []
    await startRelay(async (event) => void seen.push(event))
    await until(
      async () =>
        (
          await tables.owner.query(
            `select 1 from pg_stat_activity where query = 'listen outbox' and datname = current_database()`,
          )
        ).rowCount,
    )
    const before = performance.now()
    await add({ text: 'hello' })
    const event = await until(() => seen[0])
    expect(performance.now() - before).toBeLessThan(2_000)
    expect(event).toMatchObject({ topic: 't', key: 'k', payload: { text: 'hello' } })
    expect(event.principal).toMatchObject({
      kind: 'user',
      tenantId: tenantA,
      userId: alice,
      roles: [],
      sessionId: null,
    })
    await until(async () => (await rows()) === 0)
  })

  it('finds events that were added before it started, batch after batch', async () => {
    for (let n = 0; n < 25; n++) await add(n, `k${n % 7}`)
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { batch: 4 })
    await until(() => seen.length === 25)
    await until(async () => (await rows()) === 0)
  })

  it('looks by itself when no notification comes', async () => {
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { poll: 20 })
    await tables.owner.query('alter table outbox disable trigger outbox_notify')
    try {
      await add('silent')
      await until(() => seen.length === 1)
    } finally {
      await tables.owner.query('alter table outbox enable trigger outbox_notify')
    }
  })

  it('keeps the order of each key under two relays, and delivers each event once', async () => {
    for (let n = 0; n < 120; n++) await add(n, `k${n % 5}`)
    const seen: { readonly key: string; readonly payload: unknown }[] = []
    const deliver: RelayOptions['deliver'] = async ({ key, payload }) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
      seen.push({ key, payload })
    }
    await Promise.all([startRelay(deliver, { batch: 7 }), startRelay(deliver, { batch: 5, poll: 10 })])
    await until(async () => (await rows()) === 0)
    expect(seen).toHaveLength(120)
    for (const [, events] of Map.groupBy(seen, ({ key }) => key)) {
      const numbers = events.map(({ payload }) => Number(payload))
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    }
  })

  it('holds back the events of a key while the first one fails, and not those of others', async () => {
    await add('a1', 'a')
    await add('a2', 'a')
    await add('b1', 'b')
    const seen: unknown[] = []
    let failures = 2
    await startRelay(
      async ({ payload }) => {
        if (payload === 'a1' && failures-- > 0) throw new Error('not now')
        seen.push(payload)
      },
      { poll: 20 },
    )
    await until(() => seen.length === 3, 15_000)
    expect(seen).toEqual(['b1', 'a1', 'a2'])
  })

  it('lets those behind go on when an event is dead, which can be looked at and replayed', async () => {
    await add('bad')
    await add('good')
    const seen: unknown[] = []
    let broken = true
    await startRelay(
      async ({ payload }) => {
        if (payload === 'bad' && broken) throw new Error('poison')
        seen.push(payload)
      },
      { maxAttempts: 1 },
    )
    await until(() => seen.includes('good'))
    const [dead] = await outbox.dead(tables.system)
    expect(dead).toMatchObject({ topic: 't', key: 'k', tenantId: tenantA, attempts: 1, reason: 'poison' })
    broken = false
    await outbox.replay(tables.system, dead?.id ?? '')
    await until(() => seen.includes('bad'))
    expect(await outbox.dead(tables.system)).toEqual([])
    await expect(outbox.replay(tables.system, dead?.id ?? '')).rejects.toMatchObject({
      code: 'ERR_QUEUE_NO_DEAD_LETTER',
    })
  })

  it('gives up at once what will not pass another time', async () => {
    await add('bad')
    await startRelay(() => Promise.reject(giveUp('nobody wants it')))
    await until(async () => (await outbox.dead(tables.system)).length === 1)
  })

  it('counts no attempt while nobody can take events', async () => {
    await add('x')
    let outages = 3
    const seen: unknown[] = []
    await startRelay(
      async ({ payload }) => {
        if (outages-- > 0) throw new QuintetError('down', { code: 'ERR_TEST_DOWN', kind: 'unavailable' })
        seen.push(payload)
      },
      { maxAttempts: 1 },
    )
    await until(() => seen.length === 1)
  })

  it('forgets dead events after their time', async () => {
    await tables.owner.query(
      `insert into outbox (topic, key, payload, dead_at) values ('t', 'k', '1', now() - interval '2 days'), ('t', 'k', '2', now())`,
    )
    await startRelay(() => Promise.resolve(), { deadRetention: '1d' })
    await until(async () => (await rows()) === 1)
  })

  it('listens again after its connection was cut', async () => {
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload))
    const listeners = (): Promise<number[]> =>
      tables.owner
        .query(
          `select pid from pg_stat_activity where query = 'listen outbox' and datname = current_database()`,
        )
        .then(({ rows: found }) => found.map((row: { pid: number }) => row.pid))
    const [first] = await until(async () => ((await listeners()).length > 0 ? await listeners() : undefined))
    await tables.owner.query('select pg_terminate_backend($1)', [first])
    await until(async () => (await listeners()).some((pid) => pid !== first))
    await add('after')
    await until(() => seen.length === 1)
  })

  it('survives that its connection is cut in the middle of a batch, and delivers again', async () => {
    await add('x')
    const seen: unknown[] = []
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    await startRelay(async ({ payload }) => {
      seen.push(payload)
      if (seen.length === 1) await gate
    })
    await until(() => seen.length === 1)
    const cut = await tables.owner.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database()`,
    )
    expect(cut.rowCount).toBe(1)
    openGate()
    await until(async () => seen.length === 2 && (await rows()) === 0)
  })

  it('loses nothing when its process is killed in the middle of a batch', async () => {
    for (let n = 0; n < 8; n++) await add(n)
    const list = `${rig.queue.prefix}:delivered`
    const child = fork(join(import.meta.dirname, 'relay-child.ts'), [
      tables.database.url,
      redisUrl(),
      list,
      `${tables.database.name}_system`,
    ])
    await once(child, 'message')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await rig.redis.llen(list)).toBe(3)
    expect(await rows()).toBe(8)
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { poll: 50 })
    await until(() => seen.length === 8)
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('ends within its deadline when a delivery hangs, and the event stays', async () => {
    await add('x')
    let asked = 0
    const running = await startRelay(() => {
      asked++
      return new Promise(() => undefined)
    })
    await until(() => asked === 1)
    const before = performance.now()
    await running.drain('shutdown', AbortSignal.timeout(100))
    await running.close()
    expect(performance.now() - before).toBeLessThan(1_500)
    expect(await rows()).toBe(1)
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { poll: 50 })
    await until(() => seen.length === 1)
  })

  it('reports what waits and what is dead to the health of the process', async () => {
    const host = rig.host()
    await rig.start(relay({ pool: tables.system, deliver: () => Promise.resolve() }), host)
    expect((await host.health.report()).checks['outbox']).toMatchObject({
      status: 'pass',
      detail: '0 pending, 0 dead, the oldest waits for 0 s',
    })
  })

  it('refuses options that it does not know or that make no sense', () => {
    const deliver = (): Promise<void> => Promise.resolve()
    expect(() => relay({ pool: tables.system, deliver, bach: 1 } as never)).toThrow('Did you mean "batch"?')
    expect(() => relay({ pool: tables.system, deliver, batch: 0 })).toThrow(
      'batch must be a whole number from 1',
    )
    expect(() => relay({ pool: tables.system, deliver, poll: 'soon' as never })).toThrow('relay: poll')
  })
})

describe('deliverTo', () => {
  const Payload = z.object({ n: z.number() })
  const recordEvent = defineJob('record-event', { payload: Payload })
  const sweep = defineJob('sweep', { payload: Payload, access: 'system' })

  it('puts an event into every queue of its topic, for its user or for the system', async () => {
    const seen: string[] = []
    for (const job of [recordEvent, sweep]) {
      await rig.start(
        worker(
          job,
          { queue: rig.queue },
          ({ principal }) => void seen.push(`${job.name} ${principal.kind} ${principal.tenantId}`),
        ),
      )
    }
    await startRelay(deliverTo(rig.queue, { t: [recordEvent, sweep] }))
    await add({ n: 1 })
    await until(() => seen.length === 2)
    expect(seen.toSorted()).toEqual([`record-event user ${tenantA}`, `sweep system ${tenantA}`])
  })

  it('makes one job of an event that is delivered twice', async () => {
    const event: DeliveredEvent = {
      id: '00000000-0000-4000-8000-0000000000e1',
      topic: 't',
      key: 'k',
      payload: { n: 1 },
      principal: user,
      traceparent: undefined,
      createdAt: new Date().toISOString(),
    }
    const deliver = deliverTo(rig.queue, { t: recordEvent })
    await deliver(event)
    await deliver(event)
    expect((await rig.queue.counts(recordEvent)).waiting).toBe(1)
  })

  it('leaves dead what no job takes, also under a name of Object.prototype', async () => {
    await startRelay(deliverTo(rig.queue, { t: recordEvent }))
    await add({ n: 1 }, 'k1', 'unknown')
    await add({ n: 1 }, 'k2', 'constructor')
    await add({ n: 'one' }, 'k3')
    await until(async () => (await outbox.dead(tables.system)).length === 3)
    expect((await outbox.dead(tables.system)).map(({ reason }) => reason).toSorted()).toEqual([
      'no job takes events of the topic constructor',
      'no job takes events of the topic unknown',
      expect.stringContaining('record-event: The input is not valid: /n') as string,
    ])
  })
})
