import { findServer, startPrivateRedis, until } from '@quintet/test-kit'
import type { PrivateRedis, PrivateRedisOptions } from '@quintet/test-kit'
import type { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import {
  createJsonCache,
  createLocks,
  createPubSub,
  createRateLimiter,
  createRedisClients,
  createTrackedCache,
} from '../src/index.ts'
import { startReplicated, startSentinel } from './support/processes.ts'
import { patientClients, plainClient } from './support/servers.ts'

const products = ['redis-server', 'redis-server-8', 'valkey-server']
const found = await Promise.all(products.map(async (name) => ({ name, binary: await findServer(name) })))

for (const { name, binary } of found) {
  const where = binary ?? 'not on PATH, nor fetched by tools/fetch-servers.ts'
  describe.skipIf(binary === undefined)(`on ${name} (${where})`, () => {
    const start = (options: PrivateRedisOptions = {}): Promise<PrivateRedis> =>
      startPrivateRedis({ binary: binary ?? name, ...options })

    it('every part works', async () => {
      await using server = await start()
      await using clients = await patientClients({ url: server.url, bootCheck: 'refuse' })
      const sessions = clients.client('sessions')

      await using tracked = createTrackedCache({
        client: sessions,
        prefix: 's:',
        load: (key) => sessions.get(key),
      })
      await tracked.whenTrusted(AbortSignal.timeout(20_000))
      expect(await tracked.get('s:1')).toBeNull()
      await sessions.set('s:1', 'one')
      await until(() => tracked.peek('s:1') === undefined)
      expect(await tracked.get('s:1')).toBe('one')
      await sessions.flushdb()
      await until(() => tracked.size === 0)

      const limiter = createRateLimiter({ client: clients.client('ratelimit'), timeout: '20s' })
      const limit = { limit: 2, period: '1m' } as const
      const results = await Promise.all(Array.from({ length: 3 }, () => limiter.consume('key', limit)))
      expect(results.map(({ allowed, source }) => `${source} ${allowed}`)).toEqual([
        'redis true',
        'redis true',
        'redis false',
      ])

      const locks = createLocks({ client: clients.client('locks') })
      const first = await locks.acquire('job')
      expect(await locks.tryAcquire('job')).toBeUndefined()
      expect(await first.release()).toBe(true)
      await using second = await locks.acquire('job')
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken)

      await using pubsub = createPubSub({ client: clients.client('cache') })
      const heard = new Promise(
        (resolve) =>
          void pubsub.subscribe('c', ({ data }) => resolve(data)).then(() => pubsub.publish('c', 1)),
      )
      expect(await heard).toBe(1)

      const cache = createJsonCache<number>({
        client: clients.client('cache'),
        prefix: 'c:',
        ttl: '1m',
        staleFor: '1m',
      })
      expect(await cache.getOrLoad('a', async () => 1)).toBe(1)
      expect(await cache.get('a')).toBe(1)
    })

    it('a server that may evict sessions is refused', async () => {
      await using server = await start({ args: ['--maxmemory-policy', 'volatile-lru'] })
      await expect(createRedisClients({ url: server.url, bootCheck: 'refuse' })).rejects.toMatchObject({
        code: 'ERR_REDIS_UNSUITABLE',
        message: expect.stringContaining('maxmemory-policy is volatile-lru') as string,
      })
    })

    it('no memory and a lost role are outages, and scripts are loaded again into a server that comes back empty', async () => {
      await using server = await start()
      await using clients = await patientClients({ url: server.url, reconnect: { min: 10, max: 20 } })
      const sessions = clients.client('sessions')
      const limiter = createRateLimiter({
        client: clients.client('ratelimit'),
        timeout: '20s',
        retryInterval: 1,
      })
      const limit = { limit: 2, period: '1m' } as const
      expect(await limiter.consume('key', limit)).toMatchObject({ source: 'redis', remaining: 1 })

      const memory = await sessions.config('GET', 'maxmemory')
      await sessions.config('SET', 'maxmemory', '100kb')
      await expect(sessions.set('more', '1')).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: 'Redis cannot serve now (OOM).',
      })
      expect(await limiter.consume('key', limit)).toMatchObject({ source: 'local' })
      await sessions.config('SET', 'maxmemory', String((memory as string[])[1]))

      await sessions.replicaof('127.0.0.1', 1)
      await expect(sessions.set('more', '1')).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: 'Redis cannot serve now (READONLY).',
      })

      await server.restart()
      await until(() => sessions.ping())
      const again = await until(async () => {
        const result = await limiter.consume('key', limit)
        return result.source === 'redis' ? result : undefined
      })
      expect(again.remaining).toBe(1)
    })

    it('a failover under load neither passes nor hangs a command, and is over without a restart of ours', async () => {
      await using servers = await startReplicated(start)
      await using sentinel = await startSentinel(servers.master.port, binary ?? name)
      await using clients = await createRedisClients({
        sentinel: { name: 'main', nodes: [{ host: '127.0.0.1', port: sentinel.port }] },
        clients: { sessions: { eviction: 'never' } },
        commandTimeout: '2s',
        connectTimeout: '20s',
        reconnect: { min: 20, max: 100 },
        bootCheck: 'refuse',
      })
      const sessions = clients.client('sessions')
      await using tracked = createTrackedCache({
        client: sessions,
        prefix: 's:',
        load: (key) => sessions.get(key),
      })
      await tracked.whenTrusted(AbortSignal.timeout(20_000))

      const load = startLoad(sessions)
      await until(() => load.answered > 100)
      await servers.master.kill()
      await until(() => clients.circuit('sessions').state !== 'closed')
      const before = load.answered
      await until(() => load.answered > before + 100, 20_000)
      const { failures, slowest } = await load.stop()
      expect(failures.length).toBeGreaterThan(0)
      expect(new Set(failures)).toEqual(new Set(['ERR_REDIS_UNAVAILABLE']))
      expect(slowest).toBeLessThan(10_000)

      await using promoted = plainClient(servers.replica.url, 0)
      await until(() => tracked.trusted, 20_000)
      await until(() => sessions.set('s:1', 'live'))
      expect(await tracked.get('s:1')).toBe('live')
      await promoted.set('s:1', 'revoked')
      await until(() => tracked.peek('s:1') === undefined)
      expect(await tracked.get('s:1')).toBe('revoked')
    })
  })
}

/** Eight callers that write one after the other, whatever comes back. */
function startLoad(client: Redis) {
  const failures: string[] = []
  let running = true
  let answered = 0
  let slowest = 0
  const callers = Array.from({ length: 8 }, async (_, caller) => {
    while (running) {
      const begin = performance.now()
      try {
        await client.set(`s:load:${caller}`, '1')
        answered += 1
      } catch (error) {
        failures.push((error as { code?: string }).code ?? String(error))
        // A caller that failed lets others have the processor.
        await new Promise((resolve) => setImmediate(resolve))
      }
      slowest = Math.max(slowest, performance.now() - begin)
    }
  })
  return {
    get answered() {
      return answered
    },
    async stop() {
      running = false
      await Promise.all(callers)
      return { failures, slowest }
    },
  }
}
