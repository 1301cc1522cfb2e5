import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import type { PrivateRedis } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRedisClients, createTrackedCache, isRedisUnavailable } from '../../src/index.ts'
import { startLoadingProxy } from '../support/loading.ts'
import { collectingLogger } from '../support/logger.ts'
import { startProxy } from '../support/proxy.ts'
import { patientClients, plainClient } from '../support/servers.ts'

async function failureOf(promise: Promise<unknown>): Promise<Error & { code?: string; kind?: string }> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(outcome instanceof Error)) throw new Error('It did not fail.')
  return outcome
}

describe('createRedisClients', () => {
  it('gives one client per default name, each on its logical database', async () => {
    await using clients = await patientClients({ url: redisUrl() })
    expect(clients.names).toEqual(['sessions', 'cache', 'queue', 'ratelimit', 'locks'])
    const key = `redis-clients:${process.pid}:default`
    for (const [db, name] of clients.names.entries()) {
      await clients.client(name).set(key, name, 'EX', 60)
      const [, id] = /db=(\d+)/.exec(String(await clients.client(name).client('INFO'))) ?? []
      expect(Number(id)).toBe(db)
    }
    expect(await clients.client('sessions').get(key)).toBe('sessions')
    expect(await clients.client('locks').get(key)).toBe('locks')
  })

  it('takes the object form, and refuses names that it does not declare', async () => {
    await using clients = await patientClients({
      url: redisUrl(),
      clients: { things: { db: 5, prefix: 'p:' } },
    })
    const key = `redis-clients:${process.pid}:object`
    await clients.client('things').set(key, '1', 'EX', 60)
    await using plain = disposable(new Redis(redisUrl(), { db: 5 }))
    expect(await plain.client.get(`p:${key}`)).toBe('1')
    // @ts-expect-error the name is not declared
    expect(() => clients.client('sessions')).toThrow(/no Redis client "sessions". Declared: things/)
    // @ts-expect-error the name is not declared
    expect(() => clients.duplicate('sessions')).toThrow(/no Redis client/)
  })

  it('names its connections for CLIENT LIST', async () => {
    await using clients = await patientClients({
      url: redisUrl(),
      connectionName: 'shop',
      clients: { a: {} },
    })
    expect(await clients.client('a').client('GETNAME')).toBe('shop:a')
  })

  it('connects a lazy client at its first command, which does not fail', async () => {
    await using clients = await patientClients({ url: redisUrl(), connect: 'lazy' })
    expect(clients.circuit('cache').state).toBe('idle')
    expect(await clients.client('cache').ping()).toBe('PONG')
    expect(clients.circuit('cache').state).toBe('closed')
    expect(clients.circuit('sessions').state).toBe('idle')
  })

  it('fails the first command of a lazy client in time, whether nothing listens or nothing answers', async () => {
    await using nowhere = await createRedisClients({
      url: 'redis://127.0.0.1:1',
      connect: 'lazy',
      commandTimeout: '20s',
      reconnect: { min: '1h', max: '1h' },
    })
    await using server = await startPrivateRedis()
    await using frozen = await createRedisClients({
      url: server.url,
      connect: 'lazy',
      clients: { cache: { commandTimeout: 100 } },
    })
    server.freeze()
    try {
      // The second command of a client meets the pause between two attempts.
      for (const client of [nowhere.client('cache'), nowhere.client('cache'), frozen.client('cache')]) {
        const begin = performance.now()
        expect(await failureOf(client.get('key'))).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
        expect(performance.now() - begin).toBeLessThan(2_000)
      }
    } finally {
      server.thaw()
    }
    await until(() => frozen.client('cache').ping())
  })

  it('gives up an eager start when no server answers in time, and says why', async () => {
    const begin = performance.now()
    const error = await failureOf(createRedisClients({ url: 'redis://127.0.0.1:1', connectTimeout: 200 }))
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE', kind: 'unavailable' })
    expect(error.message).toMatch(/within 200 ms: connect ECONNREFUSED 127.0.0.1:1/)
    expect(performance.now() - begin).toBeLessThan(2_000)
  })

  it('keeps trying within connectTimeout, so that the server may come later', async () => {
    await using server = await startPrivateRedis()
    await server.kill()
    const starting = createRedisClients({ url: server.url, connectTimeout: '20s' })
    await server.restart()
    await using clients = await starting
    expect(await clients.client('cache').ping()).toBe('PONG')
  })

  it('ends an eager start by its signal', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const starting = createRedisClients({ url: 'redis://127.0.0.1:1', signal: controller.signal })
    controller.abort(reason)
    expect(await failureOf(starting)).toBe(reason)
  })

  it('can put one client on a server of its own', async () => {
    await using server = await startPrivateRedis()
    await using clients = await patientClients({
      url: redisUrl(),
      clients: { cache: {}, sessions: { url: server.url } },
    })
    await clients.client('sessions').set('only-here', '1')
    expect(await clients.client('sessions').dbsize()).toBe(1)
    expect(await clients.client('cache').exists('only-here')).toBe(0)
  })

  it('reads a URL from a secret', async () => {
    await using clients = await patientClients({ url: { reveal: () => redisUrl() }, clients: { a: {} } })
    expect(await clients.client('a').ping()).toBe('PONG')
  })
})

describe('while the server is away', () => {
  let server: PrivateRedis
  beforeAll(async () => {
    server = await startPrivateRedis()
  })
  afterAll(() => server.stop())

  it('fails commands at once and recovers without a restart of ours', async () => {
    await using clients = await patientClients({
      url: server.url,
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    const client = clients.client('a')
    await client.set('key', '1')
    await server.kill()
    await until(() => clients.circuit('a').state !== 'closed')
    const begin = performance.now()
    const errors = await Promise.all(Array.from({ length: 100 }, () => failureOf(client.get('key'))))
    expect(performance.now() - begin).toBeLessThan(5_000)
    expect(errors.every((error) => error.code === 'ERR_REDIS_UNAVAILABLE' && isRedisUnavailable(error))).toBe(
      true,
    )
    await server.restart()
    await until(() => client.ping())
    expect(await client.get('key')).toBeNull()
    expect(clients.circuit('a').state).toBe('closed')
  })

  it('fails a command on a frozen server after the command timeout, later ones at once, and recovers', async () => {
    await using clients = await createRedisClients({
      url: server.url,
      clients: { a: { commandTimeout: 100 } },
      reconnect: { min: 10, max: 50 },
    })
    const client = clients.client('a')
    server.freeze()
    try {
      const begin = performance.now()
      const error = await failureOf(client.get('key'))
      const elapsed = performance.now() - begin
      expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE', kind: 'unavailable', retryAfter: 1_000 })
      expect(elapsed).toBeGreaterThan(90)
      expect(elapsed).toBeLessThan(2_000)
      // The kernel still accepts the next connection; the server does not answer on it.
      await until(() => clients.circuit('a').state === 'half-open')
      // At once: there is no connection on which it could wait.
      const later = await failureOf(client.get('key'))
      expect(later).toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        cause: { message: expect.stringContaining("isn't writeable") as string },
      })
    } finally {
      server.thaw()
    }
    await until(() => client.ping())
  })

  it('fails commands that a slow server answers too late, and keeps a connection that still speaks', async () => {
    await using proxy = await startProxy(server.url)
    await using clients = await createRedisClients({
      url: proxy.url,
      clients: { a: { commandTimeout: 1_000 } },
    })
    const client = clients.client('a')
    const id = await client.client('ID')
    proxy.set(600)
    expect(await failureOf(client.get('key'))).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    proxy.set(0)
    await until(() => client.ping())
    expect(await client.client('ID')).toBe(id)
  })

  it('notices a connection that went silent, and makes a new one', async () => {
    await using proxy = await startProxy(server.url)
    await using clients = await createRedisClients({
      url: proxy.url,
      clients: { a: { commandTimeout: 200 } },
      reconnect: { min: 10, max: 20 },
    })
    const client = clients.client('a')
    const id = await client.client('ID')
    proxy.set('silent')
    await failureOf(client.get('key'))
    await until(() => clients.circuit('a').state !== 'closed')
    proxy.set(0)
    await until(() => client.ping())
    expect(await client.client('ID')).not.toBe(id)
  })

  it('says that it is out of memory as unavailable, and serves reads on', async () => {
    await using small = await startPrivateRedis()
    await using clients = await patientClients({ url: small.url, clients: { a: {} } })
    const client = clients.client('a')
    await client.set('kept', 'yes')
    await client.config('SET', 'maxmemory', '100kb')
    const error = await failureOf(client.set('more', 'secret-value'))
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE', message: 'Redis cannot serve now (OOM).' })
    expect(inspect(error, { depth: 9 })).not.toContain('secret-value')
    expect(await client.get('kept')).toBe('yes')
  })

  it('leaves a former master after its refusal to write', async () => {
    await using former = await startPrivateRedis()
    await using clients = await patientClients({
      url: former.url,
      clients: { a: {} },
      reconnect: { min: 10, max: 20 },
    })
    const client = clients.client('a')
    const id = await client.client('ID')
    await using plain = disposable(new Redis(former.url))
    await plain.client.replicaof('127.0.0.1', 1)
    expect(await failureOf(client.set('key', '1'))).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: 'Redis cannot serve now (READONLY).',
    })
    expect(await until(async () => (await client.client('ID')) !== id)).toBe(true)
  })

  it('never sends a command twice that may have run', async () => {
    await using proxy = await startProxy(server.url)
    await using clients = await patientClients({
      url: proxy.url,
      clients: { a: {} },
      reconnect: { min: 10, max: 20 },
    })
    await using plain = disposable(new Redis(server.url))
    await plain.client.del('count')
    proxy.set(400)
    const lost = failureOf(clients.client('a').incr('count'))
    await until(() => plain.client.get('count'))
    proxy.cut()
    proxy.set(0)
    expect(await lost).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    await until(() => clients.client('a').ping())
    expect(await plain.client.get('count')).toBe('1')
  })
})

describe('health', () => {
  it('pings connected clients, names idle ones, and says since when and why a circuit is open', async () => {
    await using server = await startPrivateRedis()
    await using clients = await patientClients({
      url: server.url,
      connect: 'lazy',
      clients: { a: {}, b: {} },
      reconnect: { min: 10, max: 20 },
    })
    await clients.client('a').ping()
    const check = clients.healthCheck()
    expect(check).toMatchObject({ name: 'redis', critical: true })
    const { signal } = new AbortController()
    expect(await check.check(signal)).toMatch(/^a \d+\.\d ms, b idle$/)
    await server.kill()
    await until(() => clients.circuit('a').state !== 'closed')
    const error = await failureOf(Promise.resolve(check.check(signal)))
    expect(error.message).toMatch(/^a: circuit (open|half-open) since \d{4}-.*Z \(.+\)$/)
    const other = clients.healthCheck({ name: 'redis-b', critical: false, clients: ['b'] })
    expect(other).toMatchObject({ name: 'redis-b', critical: false })
    expect(await other.check(signal)).toBe('b idle')
  })
})

describe('boot check', () => {
  it('refuses a server that may evict sessions, and says what to set', async () => {
    await using server = await startPrivateRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    const error = await failureOf(createRedisClients({ url: server.url, bootCheck: 'refuse' }))
    expect(error.code).toBe('ERR_REDIS_UNSUITABLE')
    expect(error.message).toMatch(
      /maxmemory-policy is allkeys-lru, so keys of sessions, queue, locks can be evicted/,
    )
    await using only = await createRedisClients({
      url: server.url,
      bootCheck: 'refuse',
      clients: { cache: {} },
    })
    expect(await only.client('cache').ping()).toBe('PONG')
  })

  it('warns by default, and is silent when off', async () => {
    await using server = await startPrivateRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    const warnings: string[] = []
    const logger = collectingLogger(warnings)
    await using warned = await patientClients({ url: server.url, logger })
    expect(warned.names).toHaveLength(5)
    expect(warnings.join()).toMatch(/noeviction/)
    warnings.length = 0
    await using silent = await patientClients({ url: server.url, logger, bootCheck: 'off' })
    expect(silent.names).toHaveLength(5)
    expect(warnings).toEqual([])
  })

  it('fails the health check when a later connection finds a server that does not suit', async () => {
    await using server = await startPrivateRedis()
    await using clients = await patientClients({
      url: server.url,
      bootCheck: 'refuse',
      reconnect: { min: 10, max: 20 },
    })
    await using plain = disposable(new Redis(server.url))
    await plain.client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await plain.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    const { signal } = new AbortController()
    const reason = await until(async () => {
      const { message } = await failureOf(Promise.resolve(clients.healthCheck().check(signal)))
      return message.startsWith('sessions: maxmemory-policy') ? message : undefined
    })
    expect(reason).toMatch(/^sessions: maxmemory-policy is allkeys-lru/)
  })

  it('passes the health check again once the server was mended', async () => {
    await using server = await startPrivateRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    const logged: string[] = []
    await using clients = await patientClients({
      url: server.url,
      bootCheck: 'refuse',
      connect: 'lazy',
      logger: collectingLogger(logged, ['info']),
    })
    await clients.client('locks').ping()
    const { signal } = new AbortController()
    const check = (): Promise<string> =>
      Promise.resolve(clients.healthCheck().check(signal)).then(String, String)
    await until(async () => (await check()).includes('allkeys-lru'))
    await using plain = disposable(new Redis(server.url))
    await plain.client.config('SET', 'maxmemory-policy', 'noeviction')
    expect(await check()).toMatch(/locks \d/)
    expect(logged.join()).toMatch(/redis server suits now/)
  })

  it('fails the health check of lazy clients, whichever connects first, and warns once', async () => {
    await using server = await startPrivateRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    const warnings: string[] = []
    await using clients = await patientClients({
      url: server.url,
      bootCheck: 'refuse',
      connect: 'lazy',
      logger: collectingLogger(warnings),
    })
    await clients.client('cache').ping()
    const { signal } = new AbortController()
    const check = clients.healthCheck()
    const reason = await until(() =>
      Promise.resolve(check.check(signal)).then(
        () => undefined,
        (error: Error) => error.message,
      ),
    )
    expect(reason).toMatch(/^cache: maxmemory-policy is allkeys-lru, so keys of sessions, queue, locks/)
    await clients.client('locks').ping()
    await until(async () =>
      (await failureOf(Promise.resolve(check.check(signal)))).message.includes('; locks'),
    )
    expect(warnings.filter((line) => line.includes('does not suit'))).toHaveLength(1)
  })
})

describe('close', () => {
  it('answers commands already sent, refuses later ones, and may be called twice', async () => {
    const clients = await patientClients({ url: redisUrl(), clients: { a: { db: 5 } } })
    const client = clients.client('a')
    const key = `redis-clients:${process.pid}:close`
    const pending = Array.from({ length: 500 }, () => client.incr(key))
    const [first, second] = [clients.close(), clients.close()]
    const late = failureOf(client.incr(key))
    expect((await Promise.all(pending)).at(-1)).toBe(500)
    expect(await late).toMatchObject({ code: 'ERR_REDIS_CLOSED', kind: 'closed' })
    await Promise.all([first, second])
    expect(client.status).toBe('end')
    expect(() => clients.duplicate('a')).toThrow(/closed/)
    await using plain = disposable(new Redis(redisUrl(), { db: 5 }))
    await plain.client.del(key)
  })

  it('answers also what a slow network still carries', async () => {
    await using server = await startPrivateRedis()
    await using proxy = await startProxy(server.url)
    const clients = await patientClients({ url: proxy.url, clients: { a: {} } })
    await clients.client('a').ping()
    proxy.set(200)
    const pending = clients.client('a').incr('count')
    await clients.close()
    expect(await pending).toBe(1)
  })

  it('returns in time when the server is frozen, and between two attempts to reconnect', async () => {
    await using server = await startPrivateRedis()
    const frozen = await createRedisClients({ url: server.url, clients: { a: { commandTimeout: 1_200 } } })
    const blocking = frozen.duplicate('a', { blocking: true })
    const waiting = failureOf(blocking.blpop('nothing', 0))
    await until(async () => /cmd=blpop/.test(String(await frozen.client('a').client('LIST'))))
    const away = await createRedisClients({
      url: server.url,
      clients: { a: {} },
      reconnect: { min: '1h', max: '1h' },
    })
    server.freeze()
    const begin = performance.now()
    await frozen.close()
    expect(performance.now() - begin).toBeLessThan(1_900)
    expect(await waiting).toMatchObject({ code: 'ERR_REDIS_CLOSED' })
    server.thaw()
    await server.kill()
    await until(() => away.circuit('a').state === 'open')
    await away.close()
    expect(await failureOf(away.client('a').ping())).toMatchObject({ code: 'ERR_REDIS_CLOSED' })
  })

  it('lets a blocking duplicate wait for a server that is away, where a request client fails at once', async () => {
    await using server = await startPrivateRedis()
    await using clients = await patientClients({
      url: server.url,
      clients: { a: { commandTimeout: '1s' } },
      reconnect: { min: 10, max: 20 },
    })
    const blocking = clients.duplicate('a', { blocking: true })
    const requests = clients.duplicate('a')
    await Promise.all([blocking.ping(), requests.ping()])
    await server.kill()
    await until(() => [blocking, requests].every(({ status }) => status !== 'ready'))
    const waiting = blocking.blpop('jobs', 0)
    expect(await failureOf(requests.ping())).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    await server.restart()
    await until(() => clients.client('a').rpush('jobs', 'one'))
    expect(await waiting).toEqual(['jobs', 'one'])
    await until(() => requests.ping())
  })

  it('closes blocking duplicates, which have no command timeout', async () => {
    const clients = await createRedisClients({
      url: redisUrl(),
      clients: { a: { db: 5, commandTimeout: 400 } },
    })
    const blocking = clients.duplicate('a', { blocking: true })
    const key = `redis-clients:${process.pid}:list`
    expect(await blocking.blpop(key, 0.6)).toBeNull()
    const waiting = failureOf(blocking.blpop(key, 0))
    await until(async () => /cmd=blpop/.test(String(await clients.client('a').client('LIST'))))
    await clients.close()
    expect(await waiting).toMatchObject({ code: 'ERR_REDIS_CLOSED' })
  })
})

describe('secrets', () => {
  it('never show in errors, logs or when a client is inspected', async () => {
    await using server = await startPrivateRedis()
    await using plain = disposable(new Redis(server.url))
    await plain.client.config('SET', 'requirepass', 'hunter2')
    const seen: string[] = []
    const logger = collectingLogger(seen, ['debug', 'info', 'warn', 'error'])
    const host = new URL(server.url).host
    const wrong = await failureOf(
      createRedisClients({ url: `redis://:hunter3@${host}`, logger, clients: { a: {} } }),
    )
    expect(wrong).toMatchObject({ code: 'ERR_REDIS_REFUSED', kind: 'internal' })
    await using clients = await createRedisClients({
      url: `redis://:hunter3@${host}`,
      password: 'hunter2',
      logger,
      clients: { a: {} },
    })
    const malformed = await failureOf(createRedisClients({ url: 'redis://user:hunter2@/%' }))
    const reply = await failureOf(
      clients.client('a').eval("return redis.error_reply('BAD thing')", 0, 'hunter2'),
    )
    expect(reply.message).toMatch(/BAD/)
    for (const value of [wrong, malformed, reply, clients.client('a'), clients, clients.circuit('a')]) {
      seen.push(inspect(value, { depth: 12, showHidden: true }), JSON.stringify(value) ?? '')
    }
    const client = clients.client('a')
    for (const value of [
      client.options,
      client.pipeline().set('k', 'hunter4'),
      client.multi().set('k', 'hunter4'),
    ])
      seen.push(inspect(value, { depth: 12 }))
    expect(await client.pipeline().set('k', 'v').get('k').exec()).toEqual([
      [null, 'OK'],
      [null, 'v'],
    ])
    const echoes = [
      ['ACL', 'SETUSER', 'bob', 'on', 'hunter5'],
      ['ACL', 'SETUSER', 'bob', 'on', `hunter5'${'x'.repeat(300)}`],
      ['ACL', 'DRYRUN', 'hunter5', 'get', 'x'],
      ['ACL', 'CAT', 'hunter5'],
      ['CLIENT', 'hunter5'],
      ['CLIENT', 'KILL', 'TYPE', 'hunter5'],
      ['CONFIG', 'SET', 'hunter5', '1'],
      ['EVAL', 'return hunter5 ~ x', '0'],
      ['FUNCTION', 'LOAD', '#!lua name=x hunter5'],
    ] as const
    for (const [command, ...args] of echoes) {
      const echo = await failureOf(client.call(command, ...args))
      seen.push(inspect(echo, { depth: 12, showHidden: true }))
    }
    const place = await failureOf(client.geoadd('g', '200.5', '10.25', 'home'))
    expect(inspect(place)).not.toMatch(/200\.5|10\.25/)
    const transaction = client
      .multi()
      .call('ACL', 'SETUSER', 'bob', 'hunter6')
      .get('k', 'hunter6' as never)
    seen.push(inspect(await failureOf(transaction.exec()), { depth: 12, showHidden: true }))
    expect(seen.join('\n')).not.toMatch(/hunter/)
  })

  it('asks for a password again before each connection, so that it can be rotated', async () => {
    await using server = await startPrivateRedis()
    await using operator = plainClient(server.url, 0)
    await operator.call('ACL', 'SETUSER', 'app', 'on', '>first', '~*', '&*', '+@all')
    const current = { password: 'first' }
    await using clients = await createRedisClients({
      url: server.url,
      username: 'app',
      password: { reveal: () => current.password },
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    await using cache = createTrackedCache({
      client: clients.client('a'),
      prefix: 'k:',
      load: (key) => clients.client('a').get(key),
    })
    await cache.whenTrusted()
    current.password = 'second'
    await operator.call('ACL', 'SETUSER', 'app', 'resetpass', '>second')
    await operator.client('KILL', 'USER', 'app')
    expect(await until(() => clients.client('a').set('key', '1'))).toBe('OK')
    await cache.whenTrusted(AbortSignal.timeout(20_000))
    expect(await clients.duplicate('a').get('key')).toBe('1')
  })

  it('reconnects with the last password while the secret cannot be read, and with the new one after that', async () => {
    await using server = await startPrivateRedis()
    await using operator = plainClient(server.url, 0)
    await operator.call('ACL', 'SETUSER', 'app', 'on', '>first', '~*', '&*', '+@all')
    const secret = { read: (): unknown => 'first' }
    const logged: string[] = []
    await using clients = await patientClients({
      url: server.url,
      username: 'app',
      password: { reveal: () => secret.read() as string },
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
      logger: collectingLogger(logged),
    })
    await using cache = createTrackedCache({ client: clients.client('a'), prefix: 'k:', load: async () => 1 })
    await cache.whenTrusted()
    const away = [
      () => {
        throw new Error('the store is away')
      },
      () => Promise.reject(new Error('the store is away')),
      () => undefined,
    ]
    for (const read of away) {
      secret.read = read
      await operator.client('KILL', 'USER', 'app')
      await until(() => !cache.trusted)
      expect(await until(() => clients.client('a').ping())).toBe('PONG')
      await cache.whenTrusted(AbortSignal.timeout(20_000))
    }
    expect(logged.filter((line) => line.includes('credentials cannot be read'))).toHaveLength(1)
    secret.read = () => 'second'
    await operator.call('ACL', 'SETUSER', 'app', 'resetpass', '>second')
    await operator.client('KILL', 'USER', 'app')
    await until(() => !cache.trusted)
    expect(await until(() => clients.client('a').ping())).toBe('PONG')
  })

  it('gives duplicates that ioredis makes the rotated password too', async () => {
    await using server = await startPrivateRedis()
    await using operator = plainClient(server.url, 0)
    await operator.call('ACL', 'SETUSER', 'app', 'on', '>first', '~*', '&*', '+@all')
    const current = { password: 'first' }
    await using clients = await patientClients({
      url: server.url,
      username: 'app',
      password: { reveal: () => current.password },
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    const monitor = await clients.client('a').monitor()
    expect(monitor.status).toBe('monitoring')
    monitor.disconnect()
    await once(monitor, 'end')
    await using duplicate = disposable(clients.client('a').duplicate())
    await using again = disposable(duplicate.client.duplicate({ connectionName: 'again' }))
    for (const { client } of [duplicate, again]) {
      client.on('error', () => undefined)
      expect(await client.ping()).toBe('PONG')
    }
    expect(await again.client.client('GETNAME')).toBe('again')
    current.password = 'second'
    await operator.call('ACL', 'SETUSER', 'app', 'resetpass', '>second')
    await operator.client('KILL', 'USER', 'app')
    for (const { client } of [duplicate, again]) expect(await until(() => client.ping())).toBe('PONG')
    expect(inspect(again.client)).not.toMatch(/first|second/)
    await using other = disposable(clients.client('a').duplicate({ username: 'default', password: '' }))
    expect(await other.client.call('ACL', 'WHOAMI')).toBe('default')
  })

  it('connects again outside of the async context of the call that made it connect', async () => {
    const seen: unknown[] = []
    const tenant = new AsyncLocalStorage<string>()
    const logger = collectingLogger([])
    const note = (): void => void seen.push(tenant.getStore())
    await using clients = await patientClients({
      url: redisUrl(),
      connect: 'lazy',
      clients: { a: { db: 5 } },
      logger: { ...logger, info: note },
    })
    await tenant.run('one', () => clients.client('a').ping())
    expect(seen).toEqual([undefined])
  })

  it('connects as a user who may not ask INFO', async () => {
    await using server = await startPrivateRedis()
    await using operator = plainClient(server.url, 0)
    await operator.call('ACL', 'SETUSER', 'reader', 'on', '>pass', '~s:*', '+get', '+select')
    await using clients = await createRedisClients({
      url: server.url,
      username: 'reader',
      password: 'pass',
      clients: { a: {} },
    })
    expect(await clients.client('a').get('s:1')).toBe(null)
    await expect(clients.client('a').get('other')).rejects.toMatchObject({ code: 'ERR_REDIS_REFUSED' })
  })

  it('sends no command from its queue whose caller was told that it failed', async () => {
    await using server = await startPrivateRedis()
    await using loading = await startLoadingProxy(server.url)
    await using clients = await createRedisClients({
      url: loading.url,
      clients: { a: {} },
      connect: 'lazy',
      commandTimeout: 300,
    })
    await expect(clients.client('a').set('late', '1')).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
    })
    loading.finish()
    await until(() => clients.circuit('a').state === 'closed')
    expect(
      await until(() =>
        clients
          .client('a')
          .get('other')
          .then(() => true),
      ),
    ).toBe(true)
    expect(await clients.client('a').exists('late')).toBe(0)
  })
})

function disposable<T>(client: T): { client: T } & AsyncDisposable {
  return {
    client,
    async [Symbol.asyncDispose]() {
      if (client instanceof Redis) client.disconnect()
    },
  }
}
