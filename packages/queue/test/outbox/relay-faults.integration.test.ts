import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { testUser } from '@quintet/core/testing'
import { redisUrl, until } from '@quintet/test-kit'
import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createOutbox, relay, type RelayOptions } from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'
import { alice, createTestTables, tenantA, tenantB, type TestTables } from '../postgres/test-tables.ts'
import { createSilentProxy } from '../silent-proxy.ts'

let tables: TestTables
let rig: Rig

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
  await tables.owner.query('truncate outbox')
})

const outbox = createOutbox()
const add = (payload: unknown, key = 'k', tenantId = tenantA): Promise<void> =>
  tables.asTenant(tenantId, alice, (client) =>
    outbox.add(client, { topic: 't', key, payload, principal: testUser({ tenantId, userId: alice }) }),
  )
const startRelay = (deliver: RelayOptions['deliver'], options: Partial<RelayOptions> = {}) =>
  rig.start(relay({ pool: tables.system, deliver, poll: 20, ...options }))
const rows = async (): Promise<number> =>
  Number((await tables.owner.query('select count(*)::int as n from outbox')).rows[0].n)

describe('a relay whose deliveries fail oddly', () => {
  const looped = new Error('loop')
  looped.cause = looped
  it.each<[string, () => unknown]>([
    ['an error whose message is an object', () => Object.assign(new Error('x'), { message: { text: 'no' } })],
    ['an object without a prototype', () => Object.create(null)],
    ['an error that is its own cause', () => looped],
    [
      'an error whose message throws',
      () =>
        Object.defineProperty(new Error('x'), 'message', {
          get() {
            throw new Error('no message')
          },
        }),
    ],
    ['a symbol', () => Symbol('x')],
    ['undefined', () => undefined],
    ['a text with a NUL and half of a surrogate pair', () => `a\0${'\ud800'}`],
  ])('settles %s, and goes on with the keys of others', async (_what, thrown) => {
    await add(1, 'bad')
    await add(2, 'good')
    const seen: unknown[] = []
    await startRelay(
      async ({ key, payload }) => {
        // oxlint-disable-next-line typescript/only-throw-error -- what others throw is theirs
        if (key === 'bad') throw thrown()
        seen.push(payload)
      },
      { maxAttempts: 1 },
    )
    await until(() => seen.length === 1)
    await until(async () => (await outbox.dead(tables.system)).length === 1)
  })
})

describe('a relay that loses its claim', () => {
  it('stops delivering the key after its process stood still and another relay took it', async () => {
    for (let n = 1; n <= 4; n++) await add(n)
    const list = `${rig.queue.prefix}:delivered`
    const child = fork(join(import.meta.dirname, 'stopped-relay-child.ts'), [
      tables.database.url,
      redisUrl(),
      list,
      `${tables.database.name}_system`,
    ])
    const deliveredByChild = () => rig.redis.lrange(list, 0, -1)
    try {
      await once(child, 'message')
      child.kill('SIGSTOP')
      const seen: unknown[] = []
      const gate = Promise.withResolvers<void>()
      await startRelay(
        async ({ payload }) => {
          seen.push(payload)
          if (payload === 2) await gate.promise
        },
        { timeout: '60s' },
      )
      await until(() => seen.length === 2, 30_000)
      child.kill('SIGCONT')
      child.send('go on')
      await until(async () => (await deliveredByChild()).includes('end 1'))
      gate.resolve()
      await until(async () => (await rows()) === 0)
      expect(seen).toEqual([1, 2, 3, 4])
      expect(await deliveredByChild()).toEqual(['1', 'end 1'])
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('aborts the delivery in progress, and touches nothing that another relay has taken', async () => {
    for (let n = 1; n <= 3; n++) await add(n)
    const seen: unknown[] = []
    const gate = Promise.withResolvers<void>()
    const losing = Promise.withResolvers<unknown>()
    const running = await startRelay(
      async ({ payload }, { signal }) => {
        seen.push(payload)
        signal.addEventListener('abort', () => losing.resolve(signal.reason))
        await gate.promise
      },
      { timeout: '60s', claimDuration: '1s' },
    )
    await until(() => seen.length === 1)
    await tables.owner.query(
      `update outbox set claimed_by = gen_random_uuid(), claimed_until = now() + interval '1 h'`,
    )
    expect(await losing.promise).toMatchObject({ name: 'AbortError' })
    gate.resolve()
    await running.drain('shutdown', AbortSignal.timeout(10_000))
    expect(seen).toEqual([1])
    const { rows: left } = await tables.owner.query('select 1 from outbox where claimed_until > now()')
    expect(left).toHaveLength(3)
  })

  it('does not start a key again that it is still delivering', async () => {
    for (let n = 1; n <= 3; n++) await add(n)
    const seen: unknown[] = []
    const gate = Promise.withResolvers<void>()
    await startRelay(
      async ({ payload }) => {
        seen.push(payload)
        await gate.promise
      },
      { timeout: '60s' },
    )
    await until(() => seen.length === 1)
    await tables.owner.query(`update outbox set claimed_until = now() - interval '1 s'`)
    await until(async () => {
      const { rows: held } = await tables.owner.query('select 1 from outbox where claimed_until > now()')
      return held.length === 3
    })
    gate.resolve()
    await until(async () => (await rows()) === 0)
    expect(seen).toEqual([1, 2, 3])
  })
})

describe('a relay beside what holds one key up', () => {
  it('delivers other keys while a key with more events than there are places hangs', async () => {
    for (let n = 0; n < 8; n++) await add(n, 'hot')
    const seen: unknown[] = []
    let hangs = 0
    await startRelay(
      async ({ key, payload }) => {
        if (key === 'hot') {
          hangs++
          return await new Promise(() => undefined)
        }
        seen.push(payload)
      },
      { batch: 3, timeout: '60s' },
    )
    await until(() => hangs === 1)
    await add('other', 'cold', tenantB)
    await until(() => seen.length === 1)
    expect(hangs).toBe(1)
  })

  it('delivers the events of others while more keys of two tenants hang than there are places', async () => {
    const hanging = ['tenant-hangs', 'tenant-hangs-too']
    for (const tenant of hanging) for (let n = 0; n < 12; n++) await add(n, `key ${n}`, tenant)
    const seen: unknown[] = []
    let hangs = 0
    await startRelay(
      async ({ payload, principal }) => {
        if (hanging.includes(principal.tenantId ?? '')) {
          hangs++
          return await new Promise(() => undefined)
        }
        seen.push(payload)
      },
      { batch: 8, timeout: '60s' },
    )
    await until(() => hangs >= 4)
    for (let n = 0; n < 5; n++) await add(n, `key ${n}`, tenantB)
    await until(() => seen.length === 5)
    expect(hangs).toBeLessThan(8)
  })

  it('delivers the events of a tenant whose key is called like that of another tenant', async () => {
    await add('a', 'settings', tenantA)
    await add('b', 'settings', tenantB)
    const seen: unknown[] = []
    await startRelay(async ({ payload }) => {
      if (payload === 'a') throw new Error('not now')
      seen.push(payload)
    })
    await until(() => seen.length === 1)
  })

  const refused = () =>
    Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:443'), { code: 'ECONNREFUSED' })

  it('delivers other keys at once while the destination of one is away', async () => {
    await add(0, 'hook')
    let failures = 0
    const seen: unknown[] = []
    await startRelay(async ({ key, payload }) => {
      if (key === 'hook') {
        failures++
        throw refused()
      }
      seen.push(payload)
    })
    await until(() => failures === 4, 30_000)
    const before = performance.now()
    await add('other', 'other', tenantB)
    await until(() => seen.length === 1)
    expect(performance.now() - before).toBeLessThan(1_000)
  })

  it('gives an event up whose destination stays away, without counting attempts', async () => {
    await add(0, 'hook')
    await startRelay(() => Promise.reject(refused()), { maxOutage: '300ms', maxAttempts: 1 })
    const [dead] = await until(async () => {
      const found = await outbox.dead(tables.system)
      return found.length > 0 ? found : undefined
    })
    expect(dead).toMatchObject({ attempts: 0, reason: 'connect ECONNREFUSED 10.0.0.1:443' })
  })
})

describe('a relay whose connections fail', () => {
  it('delivers over new connections when those it has go silent', async () => {
    await using proxy = await createSilentProxy(tables.database.url)
    const pool = new Pool({
      connectionString: proxy.url,
      options: `-c role=${tables.database.name}_system`,
      max: 4,
    })
    pool.on('error', () => undefined)
    pool.on('connect', (client) => void client.on('error', () => undefined))
    const seen: unknown[] = []
    const running = await startRelay(async ({ payload }) => void seen.push(payload), {
      pool,
      queryTimeout: '300ms',
    })
    await add('before')
    await until(() => seen.length === 1)
    proxy.silence()
    await add('after')
    await until(() => seen.length === 2, 20_000)
    await running.close()
    await pool.end()
  })

  it('refuses a pool of one connection, which LISTEN keeps', async () => {
    const pool = new Pool({ connectionString: tables.database.url, max: 1 })
    expect(() => relay({ pool, deliver: () => Promise.resolve() })).toThrow(
      'relay.pool: has one connection, and LISTEN keeps it.',
    )
    await pool.end()
  })
})
