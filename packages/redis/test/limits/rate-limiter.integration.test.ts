import { Redis } from 'ioredis'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { createRateLimiter, createRedisClients, rateLimitHeaders } from '../../src/index.ts'
import type { RateLimitResult } from '../../src/index.ts'
import { collectingLogger } from '../support/logger.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

const perMinute = { limit: 10, period: '1m' } as const

describe('createRateLimiter', () => {
  it('spends, refuses with the time to wait, and starts again after a reset', async () => {
    await using client = plainClient()
    const limiter = createRateLimiter({ client, prefix: uniquePrefix(), timeout: '20s' })
    const first = await limiter.consume('key', perMinute)
    expect(first).toEqual({
      allowed: true,
      limit: 10,
      remaining: 9,
      retryAfter: 0,
      resetAfter: 6_000,
      window: 60_000,
      source: 'redis',
    })
    for (let index = 0; index < 9; index++)
      expect((await limiter.consume('key', perMinute)).allowed).toBe(true)
    const refused = await limiter.consume('key', perMinute)
    expect(refused).toMatchObject({ allowed: false, remaining: 0 })
    expect(refused.retryAfter).toBeGreaterThan(5_000)
    expect(refused.retryAfter).toBeLessThanOrEqual(6_000)
    expect((await limiter.consume('other', perMinute)).remaining).toBe(9)
    await limiter.reset('key')
    expect((await limiter.consume('key', perMinute)).remaining).toBe(9)
  })

  it('gives back what was spent, and never more', async () => {
    await using client = plainClient()
    const limiter = createRateLimiter({ client, prefix: uniquePrefix(), timeout: '20s' })
    for (let index = 0; index < 10; index++) await limiter.consume('key', perMinute)
    await limiter.refund('key', perMinute)
    expect(await limiter.consume('key', perMinute)).toMatchObject({ allowed: true, remaining: 0 })
    expect((await limiter.consume('key', perMinute)).allowed).toBe(false)
    for (let index = 0; index < 20; index++) await limiter.refund('key', perMinute)
    expect(await limiter.consume('key', perMinute)).toMatchObject({ remaining: 9 })
    await expect(limiter.refund('', perMinute)).rejects.toThrow(/refund: .* is no key/)
  })

  it('works with a client that gives numbers as texts', async () => {
    const client = new Redis(redisUrl(), { db: 5, stringNumbers: true })
    try {
      const limiter = createRateLimiter({ client, prefix: uniquePrefix(), timeout: '20s' })
      expect(await limiter.consume('key', perMinute)).toMatchObject({ allowed: true, remaining: 9 })
    } finally {
      client.disconnect()
    }
  })

  it('refuses a key that is empty or no text, which callers without one would share', async () => {
    await using client = plainClient()
    const limiter = createRateLimiter({ client })
    for (const key of [undefined, null, 7, ''] as unknown as string[]) {
      await expect(limiter.consume(key, perMinute)).rejects.toThrow(/consume: .* is no key/)
      await expect(limiter.reset(key)).rejects.toThrow(/reset: .* is no key/)
    }
  })

  it('takes a burst beside the rate, and a cost', async () => {
    await using client = plainClient()
    const prefix = uniquePrefix()
    const limiter = createRateLimiter({ client, prefix, timeout: '20s' })
    const limit = { limit: 10, period: '1m', burst: 3 } as const
    expect(await limiter.consume('key', limit, { cost: 2 })).toMatchObject({
      allowed: true,
      limit: 3,
      remaining: 1,
      window: 18_000,
    })
    expect(await limiter.consume('key', limit, { cost: 2 })).toMatchObject({ allowed: false, remaining: 1 })
    expect(await limiter.consume('key', limit, { cost: 0 })).toMatchObject({ allowed: true, remaining: 1 })
    expect(await client.exists(`${prefix}key`)).toBe(1)
    expect(await client.exists('rl:key')).toBe(0)
  })

  it('takes an option that is undefined for one that is not given', async () => {
    await using client = plainClient()
    const names = [
      'onUnavailable',
      'instances',
      'timeout',
      'retryInterval',
      'maxLocalKeys',
      'clock',
      'logger',
    ]
    const nothing = Object.fromEntries(names.map((name) => [name, undefined])) as {}
    const limiter = createRateLimiter({ client, prefix: uniquePrefix(), ...nothing })
    expect((await limiter.consume('key', perMinute)).remaining).toBe(9)
  })

  it('refuses limits, costs and options that make no sense', async () => {
    await using client = plainClient()
    const limiter = createRateLimiter({ client })
    await expect(limiter.consume('k', { limit: 0, period: '1s' })).rejects.toThrow(/consume.limit.limit: 0/)
    await expect(limiter.consume('k', { limit: 2, period: 0.001 })).rejects.toThrow(/one per microsecond/)
    await expect(limiter.consume('k', { limit: 2, period: '1s', burst: 0 })).rejects.toThrow(/burst: 0/)
    await expect(limiter.consume('k', { limit: 2, period: '1s' }, { cost: 3 })).rejects.toThrow(/burst of 2/)
    // @ts-expect-error an unknown option
    await expect(limiter.consume('k', { limit: 2, period: '1s', window: 1 })).rejects.toThrow(
      /unknown key "window"/,
    )
    // @ts-expect-error an unknown option
    await expect(limiter.consume('k', perMinute, { costs: 2 })).rejects.toThrow(/Did you mean "cost"/)
    // @ts-expect-error an unknown option
    expect(() => createRateLimiter({ client, failOpen: true })).toThrow(/unknown key "failOpen"/)
    expect(() => createRateLimiter({ client, instances: 0 })).toThrow(/instances: 0/)
    // @ts-expect-error a wrong value
    expect(() => createRateLimiter({ client, onUnavailable: 'open' })).toThrow(
      /"open" is not one of 'local', 'refuse'/,
    )
  })
})

describe('while Redis is away', () => {
  it('decides within the timeout on a frozen server, then at once, by its share of the limit', async () => {
    await using server = await startPrivateRedis()
    // A client of somebody else, which itself would wait for ever.
    await using client = plainClient(server.url, 0)
    await client.ping()
    const limiter = createRateLimiter({ client, timeout: 50, instances: 5, retryInterval: '2s' })
    expect((await limiter.consume('key', perMinute)).source).toBe('redis')
    server.freeze()
    const begin = performance.now()
    const results: RateLimitResult[] = []
    for (let index = 0; index < 4; index++) results.push(await limiter.consume('key', perMinute))
    const elapsed = performance.now() - begin
    expect(elapsed).toBeGreaterThan(45)
    expect(elapsed).toBeLessThan(1_900)
    expect(results.map(({ source, allowed }) => [source, allowed])).toEqual([
      ['local', true],
      ['local', true],
      ['local', false],
      ['local', false],
    ])
    expect(results[0]?.limit).toBe(2)
    server.thaw()
    expect(
      (await until(
        async () => (await limiter.consume('key', perMinute)).source === 'redis',
      )) satisfies boolean,
    ).toBe(true)
  })

  it('refuses with 503 semantics where the caller or the limiter wants that', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({ url: server.url, clients: { ratelimit: {} } })
    const client = clients.client('ratelimit')
    const open = createRateLimiter({ client })
    const strict = createRateLimiter({ client, onUnavailable: 'refuse', retryInterval: '3s' })
    await server.kill()
    expect((await open.consume('key', perMinute)).source).toBe('local')
    await expect(open.consume('key', perMinute, { onUnavailable: 'refuse' })).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      kind: 'unavailable',
      retryAfter: 1_000,
    })
    await expect(strict.consume('key', perMinute)).rejects.toMatchObject({ retryAfter: 3_000 })
    expect((await strict.consume('key', perMinute, { onUnavailable: 'local' })).source).toBe('local')
  })

  it('counts and asks again by its clock, and logs once that it goes on alone and once that it does not', async () => {
    await using server = await startPrivateRedis()
    await using client = plainClient(server.url, 0)
    let time = 0
    const logged: string[] = []
    const limiter = createRateLimiter({
      client,
      timeout: '20s',
      retryInterval: '1m',
      clock: { now: () => time, monotonic: () => time },
      logger: collectingLogger(logged, ['info', 'warn']),
    })
    const limit = { limit: 2, period: '20s' } as const
    expect((await limiter.consume('key', limit)).source).toBe('redis')
    await server.kill()
    const consume = async (): Promise<string> => {
      const { source, allowed } = await limiter.consume('key', limit)
      return `${source} ${allowed}`
    }
    for (const outcome of ['local true', 'local true', 'local false']) expect(await consume()).toBe(outcome)
    time = 9_999
    expect(await consume()).toBe('local false')
    time = 10_000
    expect(await consume()).toBe('local true')
    await server.restart()
    await until(() => client.ping())
    time = 59_999
    expect(await consume()).toBe('local true')
    time = 60_000
    expect(await consume()).toBe('redis true')
    expect(logged.map((line) => line.split(' {')[0])).toEqual([
      'warn rate limits are decided without redis',
      'info rate limits are decided by redis again',
    ])
  })

  it('counts at most maxLocalKeys keys', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({ url: server.url, clients: { ratelimit: {} } })
    const limiter = createRateLimiter({
      client: clients.client('ratelimit'),
      maxLocalKeys: 2,
      retryInterval: '1h',
    })
    await server.kill()
    for (const key of ['a', 'b', 'c']) await limiter.consume(key, perMinute)
    expect((await limiter.consume('a', perMinute)).remaining).toBe(9)
    expect((await limiter.consume('c', perMinute)).remaining).toBe(8)
  })

  it('goes on locally when the server is out of memory, and counts in Redis again later', async () => {
    await using server = await startPrivateRedis()
    await using client = plainClient(server.url, 0)
    const limiter = createRateLimiter({ client, retryInterval: 0, timeout: '20s' })
    await client.config('SET', 'maxmemory', '100kb')
    expect((await limiter.consume('key', perMinute)).source).toBe('local')
    await client.config('SET', 'maxmemory', '0')
    expect((await limiter.consume('key', perMinute)).source).toBe('redis')
  })
})

describe('rateLimitHeaders', () => {
  const result = (over: Partial<RateLimitResult>): RateLimitResult => ({
    allowed: true,
    limit: 10,
    remaining: 9,
    retryAfter: 0,
    resetAfter: 100,
    window: 1_000,
    source: 'redis',
    ...over,
  })

  it('writes RateLimit-Policy and RateLimit as structured fields, one member per policy', () => {
    expect(
      rateLimitHeaders({ ip: result({}), 'a "b"\\': result({ limit: 5, remaining: 0, resetAfter: 2_500 }) }),
    ).toEqual({
      'ratelimit-policy': '"ip";q=10;w=1, "a \\"b\\"\\\\";q=5;w=1',
      ratelimit: '"ip";r=9;t=1, "a \\"b\\"\\\\";r=0;t=3',
    })
    expect(rateLimitHeaders({})).toEqual({})
    // @ts-expect-error an unknown option
    expect(() => rateLimitHeaders({}, { legacyy: true })).toThrow(/rateLimitHeaders: unknown key "legacyy"/)
    expect(() => rateLimitHeaders({ ü: result({}) })).toThrow(/not printable ASCII/)
  })

  it('adds Retry-After when a policy refused, and the older headers of the tightest policy on request', () => {
    const clock = { now: () => 1_700_000_000_000, monotonic: () => 0 }
    const headers = rateLimitHeaders(
      {
        wide: result({}),
        tight: result({ allowed: false, limit: 3, remaining: 0, retryAfter: 1_200, resetAfter: 4_000 }),
      },
      { legacy: true, clock },
    )
    expect(headers).toMatchObject({
      'retry-after': '2',
      'x-ratelimit-limit': '3',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '1700000004',
    })
  })

  it('refuses a burst that takes longer to come back than numbers reach', async () => {
    const limiter = createRateLimiter({ client: plainClient() })
    const limit = { limit: 1, period: '365d', burst: 1_000_000 } as const
    await expect(limiter.consume('key', limit)).rejects.toThrow(/longer than 100 years/)
  })
})
