import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
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
  type Outbox,
  type RelayOptions,
} from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'
import { alice, createTestTables, tenantA, tenantB, type TestTables } from '../postgres/test-tables.ts'

let tables: TestTables
let rig: Rig
let outbox: Outbox
const user = testUser({ tenantId: tenantA, userId: alice, roles: ['admin'] })

beforeAll(async () => {
  tables = await createTestTables()
  outbox = createOutbox({ notify: tables.system })
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

  it.each([
    ['a NUL in the payload', { payload: { text: 'a\0b' } }],
    ['a NUL in a name of the payload', { payload: { 'a\0b': 1 } }],
    ['half of a surrogate pair', { payload: ['\ud800'] }],
    ['a cycle', { payload: Object.assign([] as unknown[], { 0: null, toJSON: () => 1n }) }],
    ['no payload', { payload: undefined }],
    ['a NUL in the key', { key: 'a\0' }],
    ['an empty topic', { topic: '' }],
    ['a long key', { key: randomBytes(4_500).toString('base64') }],
    ['a long topic', { topic: 't'.repeat(600) }],
    ['a NUL in the user', { principal: testUser({ tenantId: tenantA, userId: 'a\0' }) }],
    ['a long tenant', { principal: testUser({ tenantId: 't'.repeat(600), userId: alice }) }],
  ])('refuses %s without breaking the transaction', async (_what, part) => {
    const code = 'payload' in part ? 'ERR_QUEUE_BAD_PAYLOAD' : 'ERR_QUEUE_BAD_NAME'
    await tables.asTenant(tenantA, alice, async (client) => {
      const event = { topic: 't', key: 'k', payload: 1, principal: user, ...part }
      await expect(outbox.add(client, event)).rejects.toMatchObject({ code })
      await outbox.add(client, {
        ...event,
        topic: 't',
        key: 'k',
        principal: user,
        payload: 'a \\u0000 that is text \u{1f600}',
      })
    })
    expect(await rows()).toBe(1)
  })

  it('refuses what is no transaction, where an event would exist without what it tells of', async () => {
    const db = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool: tables.system }) })
    for (const executor of [tables.system, db]) {
      const event = { topic: 't', key: 'k', payload: 1, principal: user }
      await expect(outbox.add(executor, event)).rejects.toThrow('outbox t: needs a transaction')
    }
    expect(await rows()).toBe(0)
  })

  it('refuses events and options with unknown members by name', async () => {
    const event = { topic: 't', key: 'k', payload: 1, principle: user }
    await expect(
      tables.asTenant(tenantA, alice, (client) => outbox.add(client, event as never)),
    ).rejects.toThrow('Did you mean "principal"?')
    await expect(outbox.dead(tables.system, { limits: 1 } as never)).rejects.toThrow('Did you mean "limit"?')
    await expect(outbox.dead(tables.system, { limit: 0 })).rejects.toThrow('outbox.dead.limit')
  })

  it('takes tenants and users whose ids are no UUIDs', async () => {
    const principal = testUser({ tenantId: 'acme', userId: '42' })
    await tables.asTenant('acme', '42', (client) =>
      outbox.add(client, { topic: 't', key: 'k', payload: 1, principal }),
    )
    expect(await rows()).toBe(1)
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
    const silent = createOutbox()
    await tables.asTenant(tenantA, alice, (client) =>
      silent.add(client, { topic: 't', key: 'k', payload: 'silent', principal: user }),
    )
    await until(() => seen.length === 1)
  })

  it('finds an event whose transaction commits after the notification', async () => {
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { poll: '100ms' })
    await tables.asTenant(tenantA, alice, async (client) => {
      await outbox.add(client, { topic: 't', key: 'k', payload: 'late', principal: user })
      await tables.owner.query('select pg_sleep(0.15)')
      expect(seen).toEqual([])
    })
    await until(() => seen.length === 1)
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

  it('counts no attempt while Redis or a database says that it cannot take anything', async () => {
    const replies = [
      "READONLY You can't write against a read only replica.",
      "OOM command not allowed when used memory > 'maxmemory'.",
      'ERR Error running script (call to f_1): @user_script:1: -READONLY You cannot write',
      'NOREPLICAS Not enough good replicas to write.',
      'MISCONF Redis is configured to save RDB snapshots',
      'LOADING Redis is loading the dataset in memory',
      'CLUSTERDOWN The cluster is down',
      'MASTERDOWN Link with MASTER is down',
      'TRYAGAIN Multiple keys request during rehashing of slot',
      'NOAUTH Authentication required.',
      'Connection is closed.',
      'Command timed out',
    ]
    const codes = ['08006', '53300', '57P01', 'ECONNREFUSED']
    const errors = new Map([
      ...replies.map((reply) => [reply, new Error(reply)] as const),
      ...codes.map(
        (code) => [code, new Error('wrapped', { cause: Object.assign(new Error('x'), { code }) })] as const,
      ),
    ])
    for (const key of errors.keys()) await add(key, key)
    const calls: string[] = []
    await startRelay(
      async ({ key }) => {
        calls.push(key)
        if (calls.filter((each) => each === key).length <= 2) throw errors.get(key)
      },
      { maxAttempts: 1 },
    )
    await until(async () => (await rows()) === 0)
    expect(calls.toSorted()).toEqual([...errors.keys()].flatMap((key) => [key, key, key]).toSorted())
  })

  it('forgets many dead events part by part, and delivers meanwhile', async () => {
    await tables.owner.query(
      `insert into outbox (topic, key, payload, dead_at) select 't', 'k', '1', now() - interval '40 days' from generate_series(1, 2500)`,
    )
    await add('new')
    const seen: number[] = []
    await startRelay(async () => void seen.push(await rows()))
    await until(() => seen.length === 1)
    expect(seen[0]).toBeGreaterThan(1_000)
    await until(async () => (await rows()) === 0)
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

  it('holds no connection and no transaction while a delivery lasts, and a cut between changes nothing', async () => {
    await add('x')
    const seen: unknown[] = []
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    await startRelay(async ({ payload }) => {
      seen.push(payload)
      await gate
    })
    await until(() => seen.length === 1)
    const { rows: open } = await tables.owner.query(
      `select 1 from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()`,
    )
    expect(open).toEqual([])
    await tables.owner.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    )
    openGate()
    await until(async () => (await rows()) === 0)
    expect(seen).toEqual(['x'])
  })

  it('goes on with other keys while a delivery hangs, ends it at its time limit and tries again', async () => {
    const aborted: unknown[] = []
    const seen: unknown[] = []
    let hangs = 1
    await startRelay(
      async ({ payload }, { signal }) => {
        if (payload === 'hangs' && hangs-- > 0) {
          signal.addEventListener('abort', () => aborted.push(signal.reason))
          return await new Promise(() => undefined)
        }
        seen.push(payload)
      },
      { timeout: '300ms' },
    )
    await add('hangs', 'a')
    await add('behind', 'a')
    await until(() => hangs === 0)
    await add('other', 'b')
    await until(() => seen.length === 1)
    expect(seen).toEqual(['other'])
    await until(() => seen.length === 3)
    expect(seen).toEqual(['other', 'hangs', 'behind'])
    expect(aborted).toMatchObject([{ code: 'ERR_QUEUE_DELIVERY_TIMEOUT', kind: 'timeout' }])
  })

  it('delivers the keys of others while another relay hangs', async () => {
    let hangs = 0
    await startRelay(() => {
      hangs++
      return new Promise(() => undefined)
    })
    await add('x', 'a')
    await until(() => hangs === 1)
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => void seen.push(payload), { poll: 20 })
    // The first one may take some of them as well, whichever it is quicker to.
    let n = 0
    await until(async () => {
      await add(n, `b${n++}`)
      return seen.length > 0
    })
  })

  it('gives its claims back when it stops, so that another relay delivers at once', async () => {
    await add('x')
    let asked = 0
    const running = await startRelay(() => {
      asked++
      return new Promise(() => undefined)
    })
    await until(() => asked === 1)
    await running.close()
    const { rows: left } = await tables.owner.query('select claimed_by, claimed_until, attempts from outbox')
    expect(left).toEqual([{ claimed_by: null, claimed_until: null, attempts: 0 }])
  })

  it('claims quickly from a table that was never analysed, and from one that was when it was empty', async () => {
    await tables.owner.query('alter table outbox set (autovacuum_enabled = false)')
    for (const analysed of [false, true]) {
      await tables.owner.query('truncate outbox')
      if (analysed) await tables.owner.query('analyze outbox')
      await tables.owner.query(
        `insert into outbox (topic, key, payload) select 't', 'k' || n % 2000, '1' from generate_series(1, 20000) n`,
      )
      const begun = performance.now()
      const { rows: claimed } = await tables.system.query(
        'select id from outbox_claim(100, 100, gen_random_uuid(), 5, array[]::text[], array[]::text[], array[]::text[], array[]::int[])',
      )
      expect(claimed).toHaveLength(100)
      expect(performance.now() - begun).toBeLessThan(1_000)
    }
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

  it('has drained as soon as the delivery in progress has ended', async () => {
    await add('x')
    const gate = Promise.withResolvers<void>()
    let asked = 0
    const running = await startRelay(async () => {
      asked++
      await gate.promise
    })
    await until(() => asked === 1)
    const drained = running.drain('shutdown', AbortSignal.timeout(30_000))
    const before = performance.now()
    gate.resolve()
    await drained
    expect(performance.now() - before).toBeLessThan(3_000)
    expect(await rows()).toBe(0)
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

  it('fails its health check when the oldest event waits for too long, and when some are dead', async () => {
    await tables.owner.query(
      `insert into outbox (topic, key, payload, created_at, next_attempt_at) values ('t', 'k', '1', now() - interval '90 s', now() + interval '1 h')`,
    )
    const host = rig.host()
    await rig.start(relay({ pool: tables.system, deliver: () => Promise.resolve() }), host)
    const check = async () => (await host.health.report()).checks['outbox']
    expect(await check()).toMatchObject({
      status: 'warn',
      detail: expect.stringMatching(/^1 pending, 0 dead, the oldest waits for 9\d s$/) as string,
    })
    const patient = rig.host()
    await rig.start(relay({ pool: tables.system, deliver: () => Promise.resolve(), maxLag: '1h' }), patient)
    expect((await patient.health.report()).checks['outbox']).toMatchObject({ status: 'pass' })
    await tables.owner.query('update outbox set dead_at = now()')
    await until(async () => (await patient.health.report()).checks['outbox']?.status === 'warn')
  })

  it('refuses options that it does not know or that make no sense', () => {
    const deliver = (): Promise<void> => Promise.resolve()
    expect(() => relay({ pool: tables.system, deliver, bach: 1 } as never)).toThrow('Did you mean "batch"?')
    expect(() => relay({ pool: tables.system, deliver, batch: 0 })).toThrow('relay.batch')
    expect(() => relay({ pool: tables.system, deliver, poll: 'soon' as never })).toThrow('relay.poll')
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

  it('gives an event to none of the jobs of its topic when one of them refuses it', async () => {
    const strict = defineJob('strict', { payload: z.object({ n: z.number().max(5) }) })
    const restricted = defineJob('restricted', { payload: Payload, access: { roles: ['admin'] } })
    await startRelay(deliverTo(rig.queue, { a: [recordEvent, strict], b: [recordEvent, restricted] }))
    await add({ n: 6 }, 'k1', 'a')
    await add({ n: 6 }, 'k2', 'b')
    await until(async () => (await outbox.dead(tables.system)).length === 2)
    expect((await rig.queue.counts(recordEvent)).waiting).toBe(0)
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
