import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createJsonCache,
  createLocks,
  createPubSub,
  createRateLimiter,
  createRedisClients,
  createTrackedCache,
} from '../../src/index.ts'

const before = process.env['QUINTET_REDIS_SERVER']
afterEach(() => {
  if (before === undefined) delete process.env['QUINTET_REDIS_SERVER']
  else process.env['QUINTET_REDIS_SERVER'] = before
})

describe.each(['redis-server', 'redis-server-8', 'valkey-server', 'keydb-server'])('on %s', (binary) => {
  it('every part works', async (context) => {
    const path = await find(binary)
    if (path === undefined) return context.skip(`${binary} is not on PATH`)
    process.env['QUINTET_REDIS_SERVER'] = path
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({
      url: server.url,
      bootCheck: 'refuse',
      commandTimeout: '20s',
    })
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
      (resolve) => void pubsub.subscribe('c', ({ data }) => resolve(data)).then(() => pubsub.publish('c', 1)),
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
    return undefined
  })
})

async function find(binary: string): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, binary)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // Not in this one.
    }
  }
  return undefined
}
