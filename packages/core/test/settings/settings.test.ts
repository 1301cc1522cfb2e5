import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, it, vi } from 'vitest'
import { z } from 'zod'
import { createTestDatabase, redisUrl } from '@quintet/test-kit'
import { callProcedure } from '../../src/kit.ts'
import { createSettings, settingsSchemaSql, type SettingsRedis } from '../../src/settings.ts'
import { silentLogger, withServices, type Logger } from '../../src/index.ts'
import { createTestHost, testUser } from '../../src/testing.ts'
import { incomingCall } from '../incoming-call.ts'

const schema = z
  .object({
    commission: z.number().min(0, 'the commission must not be negative').max(1).default(0.1),
    banner: z.string().nullable().default(null),
    limits: z
      .object({ perDay: z.number().int(), perHour: z.number().int() })
      .default({ perDay: 100, perHour: 10 }),
  })
  .refine(({ limits }) => limits.perHour <= limits.perDay, 'more per hour than per day')

let database: Awaited<ReturnType<typeof createTestDatabase>>
let pool: Pool

beforeAll(async () => {
  database = await createTestDatabase()
  pool = new Pool({ connectionString: database.url })
  // end() resolves before the server has seen all connections go, and dropping the database ends those.
  pool.on('error', () => {})
  await pool.query(settingsSchemaSql)
  await pool.query(settingsSchemaSql)
})

afterAll(async () => {
  await pool.end()
  await database.drop()
})

let cleanup = new AsyncDisposableStack()
afterEach(async () => {
  await cleanup.disposeAsync()
  cleanup = new AsyncDisposableStack()
})

function connect(): SettingsRedis & { readonly subscriber: Redis } {
  const publisher = new Redis(redisUrl())
  const subscriber = new Redis(redisUrl())
  cleanup.defer(async () => {
    publisher.disconnect()
    subscriber.disconnect()
  })
  return { publisher, subscriber }
}

type Overrides = Partial<Parameters<typeof createSettings<typeof schema>>[0]>

async function instance(namespace: string, overrides: Overrides = {}) {
  const settings = cleanup.use(createSettings({ schema, pool, namespace, ...overrides }))
  await settings.loadAndApply()
  return settings
}

const namespace = (): string => `t${randomUUID()}`
const slowPoll = '1h'

/** Repeats a query until it finds something. Answers with how many rows it found. */
async function waitForRows(text: string, values: readonly unknown[]): Promise<number> {
  return await vi.waitUntil(async () => (await pool.query(text, [...values])).rowCount, { timeout: 5_000 })
}

/** Stands between a pool and PostgreSQL; the connections that are open when it is silenced never say anything again. */
async function silenceableRelay(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer((near) => {
    const far = createConnection(Number(target.port), target.hostname)
    const pair = [near, far] as const
    pairs.add(pair)
    for (const [from, to] of [pair, [far, near] as const]) {
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.defer(async () => {
    for (const socket of [...pairs].flat()) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: url.href,
    silence: (): void => {
      for (const socket of [...pairs].flat()) {
        socket.unpipe()
        socket.pause()
      }
    },
  }
}

describe('createSettings', () => {
  it('follows the restore of an older backup, also when the versions grow to the same number again', async () => {
    const name = namespace()
    const settings = await instance(name, { pollInterval: 50 })
    const change = (commission: number): Promise<number> =>
      settings.setAndReload('commission', commission, { actor: 'root' })
    await change(0.2)
    const backup = await Promise.all(
      ['quintet_settings_version', 'quintet_settings', 'quintet_settings_history'].map(async (table) => {
        const { rows } = await pool.query(`select * from ${table} where namespace = $1`, [name])
        return { table, rows: JSON.stringify(rows) }
      }),
    )
    const restore = async (): Promise<void> => {
      const client = await pool.connect()
      try {
        await client.query('begin')
        for (const { table, rows } of backup) {
          await client.query(`delete from ${table} where namespace = $1`, [name])
          await client.query(
            `insert into ${table} select * from json_populate_recordset(null::${table}, $1::json)`,
            [rows],
          )
        }
        await client.query('commit')
      } finally {
        client.release()
      }
    }

    expect(await change(0.3)).toBe(2)
    await restore()
    await expect.poll(() => [settings.get('commission'), settings.version]).toEqual([0.2, 1])
    expect(await change(0.4)).toBe(2)
    expect(settings.get('commission')).toBe(0.4)

    // Another process changes it after a restore, which this one has not noticed when the number is the same again.
    const asleep = await instance(name, { pollInterval: '1h' })
    await restore()
    const other = await instance(name, { pollInterval: '1h' })
    expect(await other.setAndReload('commission', 0.5, { actor: 'root' })).toBe(2)
    await expect.poll(() => settings.get('commission')).toBe(0.5)
    expect(await asleep.setAndReload('commission', 0.6, { actor: 'root' })).toBe(3)
    expect(asleep.get('commission')).toBe(0.6)
  })

  it('applies the defaults until something is stored', async () => {
    const settings = createSettings({ schema, pool, namespace: namespace() })
    expect(settings.values).toEqual({ commission: 0.1, banner: null, limits: { perDay: 100, perHour: 10 } })
    await settings.loadAndApply()
    expect(settings.version).toBe(0)
    expect(settings.get('commission')).toBe(0.1)
    expectTypeOf(settings.get('banner')).toEqualTypeOf<string | null>()
    // @ts-expect-error there is no such setting
    expect(settings.get('comission')).toBeUndefined()
    await settings.close()
  })

  it('stores a value, applies it at once, and finds it again after a restart', async () => {
    const name = namespace()
    const settings = await instance(name)
    expect(await settings.setAndReload('commission', 0.2, { actor: 'ada' })).toBe(1)
    expect(settings.get('commission')).toBe(0.2)
    expect((await instance(name)).get('commission')).toBe(0.2)
    expect((await instance(namespace())).get('commission')).toBe(0.1)
  })

  it('stores null as a value, not as the default', async () => {
    const name = namespace()
    const settings = await instance(name)
    await settings.setAndReload('banner', 'Hello', { actor: 'ada' })
    await settings.setAndReload('banner', null, { actor: 'ada' })
    expect((await instance(name)).get('banner')).toBeNull()
    expect((await settings.history('banner'))[0]?.value).toBeNull()
  })

  it('tells every other process by Redis', async () => {
    const name = namespace()
    const one = await instance(name, { redis: connect(), pollInterval: slowPoll })
    const two = await instance(name, { redis: connect(), pollInterval: slowPoll })
    const seen: [number, number][] = []
    two.subscribe('commission', (value, previous) => seen.push([value, previous]))
    const startedAt = performance.now()
    await one.setAndReload('commission', 0.3, { actor: 'ada' })
    await expect.poll(() => two.get('commission'), { interval: 5 }).toBe(0.3)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    expect(seen).toEqual([[0.3, 0.1]])
  })

  it('notices within a second a change whose announcement was lost', async () => {
    const name = namespace()
    const redis = connect()
    const one = await instance(name, { pollInterval: slowPoll })
    const two = await instance(name, { redis })
    await redis.subscriber.unsubscribe()
    const startedAt = performance.now()
    await one.setAndReload('commission', 0.4, { actor: 'ada' })
    await expect.poll(() => two.get('commission'), { interval: 10, timeout: 2_000 }).toBe(0.4)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })

  it('notices within a second a change while its connection to Redis stays dead', async () => {
    const name = namespace()
    const publisher = new Redis(redisUrl())
    const subscriber = new Redis(redisUrl(), { retryStrategy: () => null })
    cleanup.defer(async () => publisher.disconnect())
    const id = await subscriber.client('ID')
    const settings = await instance(name, { redis: { publisher, subscriber } })
    const other = await instance(name, { redis: connect() })
    const ended = once(subscriber, 'end')
    await publisher.client('KILL', 'ID', id)
    await ended
    const startedAt = performance.now()
    await other.setAndReload('commission', 0.6, { actor: 'ada' })
    await expect.poll(() => settings.get('commission'), { interval: 10, timeout: 2_000 }).toBe(0.6)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })

  it('follows on after all of its connections to PostgreSQL were ended', async () => {
    const name = namespace()
    const own = new Pool({ connectionString: database.url, application_name: name })
    own.on('error', () => {})
    cleanup.defer(() => own.end())
    const settings = await instance(name, { pool: own })
    await pool.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [
      name,
    ])
    const startedAt = performance.now()
    await (await instance(name)).setAndReload('commission', 0.7, { actor: 'ada' })
    await expect.poll(() => settings.get('commission'), { interval: 10, timeout: 3_000 }).toBe(0.7)
    expect(performance.now() - startedAt).toBeLessThan(1_500)
  })

  it(
    'follows on after its connection to PostgreSQL was cut off without a word',
    { timeout: 20_000 },
    async () => {
      const name = namespace()
      const relay = await silenceableRelay(database.url)
      const own = new Pool({ connectionString: relay.url, max: 1 })
      cleanup.defer(() => own.end())
      const settings = await instance(name, { pool: own })
      relay.silence()
      await (await instance(name)).setAndReload('commission', 0.8, { actor: 'ada' })
      await expect.poll(() => settings.get('commission'), { timeout: 10_000 }).toBe(0.8)
    },
  )

  it('rejects a change whose connection breaks, and the process goes on', async () => {
    const name = namespace()
    const own = new Pool({ connectionString: database.url, application_name: name })
    own.on('error', () => {})
    cleanup.defer(() => own.end())
    const settings = await instance(name, { pool: own, pollInterval: slowPoll })
    await settings.setAndReload('commission', 0.1, { actor: 'ada' })
    const holder = await pool.connect()
    await holder.query('begin')
    await holder.query('select 1 from quintet_settings_version where namespace = $1 for update', [name])
    const failure = settings.setAndReload('commission', 0.2, { actor: 'ada' }).catch(String)
    const ended = await waitForRows(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = $1 and wait_event_type = 'Lock'`,
      [name],
    )
    expect(ended).toBe(1)
    expect(await failure).toMatch(/terminat/)
    await holder.query('rollback')
    holder.release()
    expect(await settings.setAndReload('commission', 0.3, { actor: 'ada' })).toBe(2)
  })

  it('starts and changes without waiting for a Redis that does not answer', async () => {
    const connection = (): Redis => {
      const redis = new Redis({ host: '127.0.0.1', port: 1, maxRetriesPerRequest: null })
      redis.on('error', () => {})
      cleanup.defer(async () => redis.disconnect())
      return redis
    }
    const redis = { publisher: connection(), subscriber: connection() }
    const startedAt = performance.now()
    const settings = await instance(namespace(), { redis })
    await settings.setAndReload('commission', 0.8, { actor: 'ada' })
    await settings.close()
    expect(performance.now() - startedAt).toBeLessThan(4_000)
    expect(settings.get('commission')).toBe(0.8)
  })

  it('goes on when Redis cannot be reached', async () => {
    const warnings: string[] = []
    const logger: Logger = { ...silentLogger, warn: (_fields, message = '') => void warnings.push(message) }
    const broken = () => Promise.reject(new Error('connect ECONNREFUSED'))
    const redis: SettingsRedis = {
      publisher: { publish: broken },
      subscriber: { subscribe: broken, unsubscribe: broken, on() {}, off() {} },
    }
    const settings = await instance(namespace(), { redis, logger })
    await settings.setAndReload('commission', 0.5, { actor: 'ada' })
    expect(settings.get('commission')).toBe(0.5)
    expect(warnings).toHaveLength(2)
  })

  it('refuses a bad value with the message of the schema, and changes nothing', async () => {
    const name = namespace()
    const settings = await instance(name)
    await expect(settings.setAndReload('commission', -1, { actor: 'ada' })).rejects.toMatchObject({
      code: 'ERR_CORE_SETTING_INVALID',
      kind: 'invalid-input',
      message: 'commission: the commission must not be negative',
    })
    await expect(
      settings.setAndReload('limits', { perDay: 1, perHour: 2 }, { actor: 'ada' }),
    ).rejects.toThrow('more per hour than per day')
    await expect(settings.setAndReload('commission', Number.NaN, { actor: 'ada' })).rejects.toThrow(
      'commission',
    )
    expect((await instance(name)).version).toBe(0)
    expect(await settings.history('commission')).toEqual([])
  })

  it('refuses a setting that does not exist, with the nearest name', async () => {
    const settings = await instance(namespace())
    const key = 'comission' as 'commission'
    await expect(settings.setAndReload(key, 0.2, { actor: 'ada' })).rejects.toThrow(
      'Did you mean "commission"?',
    )
    await expect(settings.setAndReload('__proto__' as 'commission', 0.2, { actor: 'ada' })).rejects.toThrow(
      'unknown key',
    )
    expect(() => settings.subscribe(key, () => {})).toThrow('Did you mean "commission"?')
  })

  it('keeps who changed what, and why', async () => {
    const settings = await instance(namespace())
    await settings.setAndReload('commission', 0.2, { actor: 'ada', reason: 'spring sale' })
    await settings.setAndReload('commission', 0.3, { actor: 'bob' })
    const history = await settings.history('commission')
    expect(history).toMatchObject([
      { key: 'commission', version: 2, value: 0.3, actor: 'bob', reason: undefined },
      { key: 'commission', version: 1, value: 0.2, actor: 'ada', reason: 'spring sale' },
    ])
    expect(history[0]?.changedAt).toBeInstanceOf(Date)
    expect(await settings.history('commission', 1)).toHaveLength(1)
    await expect(settings.setAndReload('commission', 0.2, { actor: '' })).rejects.toThrow('needs an actor')
  })

  it('refuses connections that cannot announce, before anything is read', () => {
    const options = (redis: object) => ({
      schema,
      pool,
      namespace: namespace(),
      redis: redis as SettingsRedis,
    })
    expect(() => createSettings(options({}))).toThrow('createSettings.redis.publisher: is missing')
    const publisher = { publish: () => Promise.resolve() }
    expect(() => createSettings(options({ publisher, subscriber: {} }))).toThrow(
      'createSettings.redis.subscriber: is not a Redis client (ioredis) of its own: it has no subscribe()',
    )
  })

  it('goes back to what was at a version, and to the default', async () => {
    const settings = await instance(namespace())
    await settings.setAndReload('commission', 0.2, { actor: 'ada' })
    await settings.setAndReload('banner', 'Hello', { actor: 'ada' })
    await settings.setAndReload('commission', 0.3, { actor: 'ada' })
    expect(await settings.rollback('commission', 2, { actor: 'bob' })).toBe(4)
    expect(settings.get('commission')).toBe(0.2)
    await settings.rollback('commission', 0, { actor: 'bob' })
    expect(settings.get('commission')).toBe(0.1)
    expect(settings.get('banner')).toBe('Hello')
    expect((await settings.history('commission'))[0]).toMatchObject({
      version: 5,
      value: undefined,
      actor: 'bob',
    })
    await expect(settings.rollback('commission', 9, { actor: 'bob' })).rejects.toMatchObject({
      code: 'ERR_CORE_NOT_FOUND',
    })
  })

  it('changes a setting only at the version that the caller has seen', async () => {
    const settings = await instance(namespace())
    await settings.setAndReload('commission', 0.2, { actor: 'ada', expectedVersion: 0 })
    await expect(
      settings.setAndReload('commission', 0.3, { actor: 'bob', expectedVersion: 0 }),
    ).rejects.toMatchObject({ code: 'ERR_CORE_SETTINGS_CONFLICT', kind: 'conflict', details: { version: 1 } })
    await settings.setAndReload('commission', 0.3, { actor: 'bob', expectedVersion: 1 })
    expect(settings.get('commission')).toBe(0.3)
    await settings.rollback('commission', 0, { actor: 'ada', expectedVersion: 2 })
    await expect(
      settings.setAndReload('commission', 0.4, { actor: 'bob', expectedVersion: 0 }),
    ).rejects.toMatchObject({ details: { version: 3 } })
  })

  it('puts changes of several processes into one order', async () => {
    const name = namespace()
    const instances = await Promise.all([instance(name), instance(name), instance(name)])
    const versions = await Promise.all(
      instances.flatMap((settings) =>
        [1, 2, 3].map((each) => settings.setAndReload('banner', `message ${each}`, { actor: 'ada' })),
      ),
    )
    expect(versions.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    const last = (await instances[0]?.history('banner', 1))?.[0]?.value
    for (const settings of instances) await expect.poll(() => settings.get('banner')).toBe(last)
  })

  it('does not start on a stored value that the schema refuses, and keeps the last good one while it runs', async () => {
    const name = namespace()
    const errors: string[] = []
    const logger: Logger = { ...silentLogger, error: (_fields, message = '') => void errors.push(message) }
    const settings = await instance(name, { logger, pollInterval: 20 })
    await settings.setAndReload('commission', 0.2, { actor: 'ada' })
    await pool.query(`update quintet_settings set value = '"x"' where namespace = $1`, [name])
    await pool.query('update quintet_settings_version set version = version + 1 where namespace = $1', [name])
    await expect
      .poll(() => errors)
      .toEqual(['settings cannot be refreshed; the last good values go on applying'])
    expect(settings.get('commission')).toBe(0.2)
    const other = createSettings({ schema, pool, namespace: name })
    await expect(other.loadAndApply()).rejects.toMatchObject({ code: 'ERR_CORE_SETTING_INVALID' })
    await other.close()
  })

  it('leaves out stored settings that it does not know', async () => {
    const name = namespace()
    await (await instance(name)).setAndReload('banner', 'Hello', { actor: 'ada' })
    const smaller = cleanup.use(
      createSettings({
        schema: z.strictObject({ commission: z.number().default(1) }),
        pool,
        namespace: name,
      }),
    )
    await smaller.loadAndApply()
    expect(smaller.values).toEqual({ commission: 1 })
  })

  it('goes on when a subscriber throws, and stops calling one that has left', async () => {
    const settings = await instance(namespace())
    const seen: number[] = []
    settings.subscribe('commission', () => {
      throw new Error('no')
    })
    const subscription = settings.subscribe('commission', (value, previous) => {
      expectTypeOf(value).toEqualTypeOf<number>()
      expectTypeOf(previous).toEqualTypeOf<number>()
      seen.push(value)
    })
    await settings.setAndReload('banner', 'Hello', { actor: 'ada' })
    await settings.setAndReload('commission', 0.2, { actor: 'ada' })
    subscription[Symbol.dispose]()
    await settings.setAndReload('commission', 0.3, { actor: 'ada' })
    expect(seen).toEqual([0.2])
  })

  it('is changed by operators through a procedure', async () => {
    const settings = await instance(namespace())
    const { procedure: define } = withServices<{ readonly settings: typeof settings }>()
    const change = define(
      {
        access: { roles: ['operator'] },
        freshness: 'strict',
        input: z.object({ key: z.string(), value: z.json() }),
      },
      ({ input, services, principal }) =>
        services.settings.change(input.key, input.value, { actor: principal.userId }),
    )
    await using host = createTestHost({
      provide: { settings },
      tokens: { operator: testUser({ userId: 'ada', roles: ['operator'] }), user: testUser() },
    })
    const call = (token: string, key: string, value: unknown): Promise<unknown> =>
      callProcedure(
        host,
        change,
        incomingCall({ access: change.access, credentials: { scheme: 'bearer', token } }),
        () => ({ key, value }),
      )
    expect(await call('operator', 'commission', 0.2)).toBe(1)
    expect(settings.get('commission')).toBe(0.2)
    expect((await settings.history('commission'))[0]?.actor).toBe('ada')
    await expect(call('user', 'commission', 0.9)).rejects.toMatchObject({ kind: 'forbidden' })
    await expect(call('operator', 'commission', 'much')).rejects.toMatchObject({
      code: 'ERR_CORE_SETTING_INVALID',
    })
    await expect(call('operator', 'comission', 0.2)).rejects.toThrow('Did you mean "commission"?')
  })

  it('needs a default for every setting, and options that make sense', () => {
    expect(() => createSettings({ schema: z.object({ a: z.string() }), pool })).toThrow(
      'every setting needs a default. Without: a',
    )
    expect(() => createSettings({ schema, pool, pollInterval: 0 })).toThrow('0 ms is too small')
    expect(() => createSettings({ schema, pool, namespace: 'No!' })).toThrow('createSettings.namespace')
    const misspelt = { schema, pool, pollIntervall: 1 }
    expect(() => createSettings(misspelt)).toThrow('Did you mean "pollInterval"?')
  })

  it('changes nothing after it was closed', async () => {
    const settings = await instance(namespace())
    await Promise.all([settings.close(), settings.close()])
    await expect(settings.setAndReload('commission', 0.2, { actor: 'ada' })).rejects.toMatchObject({
      kind: 'unavailable',
    })
  })
})
