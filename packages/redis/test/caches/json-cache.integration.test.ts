import { startPrivateRedis, until } from '@quintet/test-kit'
import { afterAll, describe, expect, it } from 'vitest'
import { createJsonCache, createRedisClients } from '../../src/index.ts'
import type { JsonCacheOptions } from '../../src/index.ts'
import { collectingLogger } from '../support/logger.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

const client = plainClient()
afterAll(() => void client.disconnect())

interface Item {
  readonly n: number
}

function open(options: Partial<JsonCacheOptions<Item>> = {}) {
  const prefix = uniquePrefix()
  return { prefix, cache: createJsonCache<Item>({ client, prefix, ttl: '1m', ...options }) }
}

describe('createJsonCache', () => {
  it('stores, reads and deletes typed values', async () => {
    const { cache, prefix } = open({ jitter: 0 })
    expect(await cache.get('a')).toBeUndefined()
    await cache.set('a', { n: 1 })
    expect(await cache.get('a')).toEqual({ n: 1 })
    expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(59_000)
    await cache.delete('a')
    expect(await cache.get('a')).toBeUndefined()
  })

  it('shares one load between concurrent calls, and gives all of them its failure', async () => {
    const { cache } = open()
    let loads = 0
    const load = async (): Promise<Item> => ({ n: ++loads })
    const values = await Promise.all(Array.from({ length: 50 }, () => cache.getOrLoad('a', load)))
    expect(values.every((value) => value?.n === 1)).toBe(true)
    expect(await cache.getOrLoad('a', load)).toEqual({ n: 1 })
    const bad = Array.from({ length: 3 }, () =>
      cache.getOrLoad('b', () => Promise.reject(new Error(`no ${++loads}`))),
    )
    expect(
      (await Promise.allSettled(bad)).map(
        (outcome) => outcome.status === 'rejected' && outcome.reason.message,
      ),
    ).toEqual(['no 2', 'no 2', 'no 2'])
    expect(await cache.getOrLoad('b', load)).toEqual({ n: 3 })
  })

  it('removes a stale value whose source is gone, and stores absence by set', async () => {
    const { cache, prefix } = open({ staleFor: '1m', jitter: 0 })
    await cache.set('a', { n: 1 })
    await client.pexpire(`${prefix}a`, 59_000)
    let loads = 0
    const gone = async (): Promise<undefined> => void (loads += 1)
    expect(await cache.getOrLoad('a', gone)).toEqual({ n: 1 })
    await until(async () => (await client.exists(`${prefix}a`)) === 0)
    expect(await cache.getOrLoad('a', gone)).toBeUndefined()
    expect(loads).toBe(2)
    expect(await client.exists(`${prefix}a`)).toBe(0)
    await cache.set('a', { n: 2 })
    await cache.set('a', undefined as unknown as Item)
    expect(await cache.get('a')).toBeUndefined()
    expect(await client.exists(`${prefix}a`)).toBe(0)
  })

  it('leaves what was stored while a load found nothing', async () => {
    const { cache, prefix } = open({ staleFor: '1m', jitter: 0 })
    await cache.set('a', { n: 1 })
    await client.pexpire(`${prefix}a`, 59_000)
    const loaded = Promise.withResolvers<undefined>()
    expect(await cache.getOrLoad('a', () => loaded.promise)).toEqual({ n: 1 })
    await client.set(`${prefix}a`, '00000000:{"n":2}', 'PX', 119_000)
    loaded.resolve(undefined)
    await client.ping()
    expect(await cache.get('a')).toEqual({ n: 2 })
  })

  it('gives what was loaded whatever Redis refuses or JSON cannot express', async () => {
    const logged: string[] = []
    const { cache, prefix } = open({ logger: collectingLogger(logged) })
    const load = async (): Promise<Item> => ({ n: 1 })
    await client.rpush(`${prefix}list`, 'x')
    await client.expire(`${prefix}list`, 60)
    expect(await cache.get('list')).toBeUndefined()
    expect(await cache.getOrLoad('list', load)).toEqual({ n: 1 })
    expect(logged.join()).toMatch(/could not be read.*WRONGTYPE/)

    await using server = await startPrivateRedis()
    await using admin = plainClient(server.url, 0)
    await admin.acl('SETUSER', 'reader', 'on', '>pw', '~*', '&*', '+@all', '-eval', '-evalsha', '-set')
    await using reader = plainClient(`redis://reader:pw@127.0.0.1:${server.port}`, 0)
    const denied = open({ client: reader, logger: collectingLogger(logged) }).cache
    expect(await denied.getOrLoad('a', load)).toEqual({ n: 1 })
    await denied.set('a', { n: 1 })
    expect(logged.join()).toMatch(/could not be marked.*NOPERM.*could not be written.*NOPERM/)

    for (const value of [{ n: 1n }, () => 1] as unknown as Item[]) {
      const { cache: own, prefix: ownPrefix } = open({ logger: collectingLogger(logged) })
      expect(await own.getOrLoad('a', async () => value)).toBe(value)
      expect(await client.exists(`${ownPrefix}a`)).toBe(0)
      await expect(own.set('a', value)).rejects.toThrow(TypeError)
    }
    expect(logged.join()).toMatch(/cannot be cached.*BigInt.*cannot be cached.*function/)
  })

  it('refuses a key that is empty or no text', async () => {
    const { cache } = open()
    for (const key of ['', undefined as unknown as string]) {
      await expect(cache.get(key)).rejects.toThrow(/get: .* is no key/)
      await expect(cache.set(key, { n: 1 })).rejects.toThrow(/set: .* is no key/)
      await expect(cache.delete(key)).rejects.toThrow(/delete: .* is no key/)
      await expect(cache.getOrLoad(key, async () => ({ n: 1 }))).rejects.toThrow(/getOrLoad: .* is no key/)
    }
  })

  it('serves a stale value at once and loads a new one behind it', async () => {
    const { cache, prefix } = open({ staleFor: '1m', jitter: 0 })
    await cache.set('a', { n: 1 })
    expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(119_000)
    const never = (): Promise<never> => Promise.reject(new Error('not to be called'))
    expect(await cache.getOrLoad('a', never)).toEqual({ n: 1 })
    await client.pexpire(`${prefix}a`, 59_000)
    expect(await cache.getOrLoad('a', never)).toEqual({ n: 1 })
    const loaded = Promise.withResolvers<Item>()
    let loads = 0
    const slow = (): Promise<Item> => {
      loads += 1
      return loaded.promise
    }
    for (let read = 0; read < 5; read++) expect(await cache.getOrLoad('a', slow)).toEqual({ n: 1 })
    expect(loads).toBe(1)
    loaded.resolve({ n: 2 })
    expect(await until(async () => (await cache.get('a'))?.n === 2)).toBe(true)
    expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(119_000)
  })

  it('makes times to live differ by the jitter', async () => {
    const { cache, prefix } = open({ jitter: 0.5, ttl: '1h' })
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`)
    await Promise.all(keys.map((key) => cache.set(key, { n: 1 })))
    const lives = await Promise.all(keys.map((key) => client.pttl(prefix + key)))
    expect(Math.min(...lives)).toBeGreaterThan(1_790_000)
    expect(Math.max(...lives)).toBeLessThanOrEqual(3_600_000)
    expect(Math.max(...lives) - Math.min(...lives)).toBeGreaterThan(60_000)
  })

  it('keeps an absence only when asked to', async () => {
    let loads = 0
    const none = async (): Promise<undefined> => void (loads += 1)
    const plain = open()
    await plain.cache.getOrLoad('a', none)
    await plain.cache.getOrLoad('a', none)
    expect(loads).toBe(2)
    const negative = open({ negativeTtl: '10s', jitter: 0, staleFor: '1m' })
    expect(await negative.cache.getOrLoad('a', none)).toBeUndefined()
    expect(await negative.cache.getOrLoad('a', none)).toBeUndefined()
    expect(loads).toBe(3)
    expect(await client.pttl(`${negative.prefix}a`)).toBeLessThanOrEqual(10_000)
    await negative.cache.set('a', { n: 1 })
    expect(await negative.cache.getOrLoad('a', none)).toEqual({ n: 1 })
  })

  it('counts a corrupt entry as a miss and replaces it', async () => {
    const logged: string[] = []
    const { cache, prefix } = open({
      logger: collectingLogger(logged),
      parse(value) {
        if (typeof (value as Item | null)?.n !== 'number') throw new TypeError('not an item')
        return value as Item
      },
    })
    for (const text of ['00000000:{"n":', '00000000:null', '00000000:{"n":"1"}', '{"n":1}']) {
      await client.set(`${prefix}a`, text, 'EX', 60)
      expect(await cache.get('a')).toBeUndefined()
      expect(await cache.getOrLoad('a', async () => ({ n: 7 }))).toEqual({ n: 7 })
      expect(await cache.get('a')).toEqual({ n: 7 })
    }
    expect(logged).toHaveLength(8)
  })

  it('does not store what was loaded before the value was written to what it had been', async () => {
    const { cache, prefix } = open({ staleFor: '1m', jitter: 0 })
    await cache.set('a', { n: 1 })
    await client.pexpire(`${prefix}a`, 59_000)
    const loaded = Promise.withResolvers<Item>()
    expect(await cache.getOrLoad('a', () => loaded.promise)).toEqual({ n: 1 })
    const other = createJsonCache<Item>({ client, prefix, ttl: '1m' })
    await other.set('a', { n: 2 })
    await other.set('a', { n: 1 })
    loaded.resolve({ n: 2 })
    await loaded.promise
    await client.ping()
    expect(await cache.get('a')).toEqual({ n: 1 })
  })

  it('loads anew for the others when the caller who loads has left', async () => {
    const { cache } = open()
    const callers = Array.from({ length: 3 }, () => new AbortController())
    let loads = 0
    const calls = callers.map(({ signal }) =>
      cache.getOrLoad('a', async () => {
        loads++
        const left = Promise.withResolvers<never>()
        signal.addEventListener('abort', () => left.reject(signal.reason as Error))
        return loads === 3 ? { n: loads } : left.promise
      }),
    )
    const settled = Promise.allSettled(calls)
    for (const [index, caller] of callers.slice(0, 2).entries()) {
      await until(() => loads === index + 1)
      caller.abort()
    }
    const outcomes = await settled
    expect(outcomes.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.name))).toEqual([
      'AbortError',
      'AbortError',
      { n: 3 },
    ])
  })

  it('takes durations that are no whole milliseconds', async () => {
    const { cache } = open({ ttl: 60_000.5, staleFor: 0.5, loadTimeout: 20_000.5, negativeTtl: 60_000.5 })
    let loads = 0
    for (let call = 0; call < 2; call++)
      expect(await cache.getOrLoad('a', async () => ({ n: ++loads }))).toEqual({ n: 1 })
    for (let call = 0; call < 2; call++) await cache.getOrLoad('b', async () => void loads++)
    expect(loads).toBe(2)
  })

  it('does not store what was loaded before a delete', async () => {
    const { cache } = open()
    const old = Promise.withResolvers<Item>()
    const started = Promise.withResolvers<void>()
    const first = cache.getOrLoad('a', () => {
      started.resolve()
      return old.promise
    })
    await started.promise
    await cache.delete('a')
    old.resolve({ n: 1 })
    expect(await first).toEqual({ n: 1 })
    expect(await cache.get('a')).toBeUndefined()
  })

  it('does not store what was loaded before another process wrote or deleted the key', async () => {
    const { cache, prefix } = open()
    const other = createJsonCache<Item>({ client, prefix, ttl: '1m' })
    for (const change of [() => other.delete('a'), () => other.set('a', { n: 2 })]) {
      const old = Promise.withResolvers<Item>()
      const started = Promise.withResolvers<void>()
      const first = cache.getOrLoad('a', () => {
        started.resolve()
        return old.promise
      })
      await started.promise
      await change()
      old.resolve({ n: 1 })
      expect(await first).toEqual({ n: 1 })
      expect((await cache.get('a'))?.n).not.toBe(1)
    }
    expect(await cache.get('a')).toEqual({ n: 2 })
  })

  it('does not bring back a stale value that another process deleted while it was loaded anew', async () => {
    const { cache, prefix } = open({ staleFor: '1m', jitter: 0 })
    const other = createJsonCache<Item>({ client, prefix, ttl: '1m' })
    await cache.set('a', { n: 1 })
    await client.pexpire(`${prefix}a`, 59_000)
    const loaded = Promise.withResolvers<Item>()
    const stored = Promise.withResolvers<void>()
    expect(
      await cache.getOrLoad('a', async () => {
        const value = await loaded.promise
        stored.resolve()
        return value
      }),
    ).toEqual({ n: 1 })
    await other.delete('a')
    loaded.resolve({ n: 1 })
    await stored.promise
    // A later command on the same connection is answered after the write.
    await client.ping()
    expect(await client.exists(`${prefix}a`)).toBe(0)
  })

  it('stores what one of two processes loaded when both missed at once', async () => {
    const { cache, prefix } = open()
    const other = createJsonCache<Item>({ client, prefix, ttl: '1m' })
    const go = Promise.withResolvers<Item>()
    const both = [cache, other].map((each) => each.getOrLoad('a', () => go.promise))
    await until(async () => (await client.get(`${prefix}a`))?.startsWith('?') === true)
    expect(await cache.get('a')).toBeUndefined()
    go.resolve({ n: 1 })
    expect(await Promise.all(both)).toEqual([{ n: 1 }, { n: 1 }])
    expect(await cache.get('a')).toEqual({ n: 1 })
  })

  it('gives up a load that hangs, aborts its signal, and loads anew for the next caller', async () => {
    const { cache } = open({ loadTimeout: 500 })
    let signal: AbortSignal | undefined
    const hanging = cache.getOrLoad('a', (given) => {
      signal = given
      return new Promise(() => undefined)
    })
    await expect(hanging).rejects.toMatchObject({ code: 'ERR_REDIS_LOAD_TIMEOUT', kind: 'timeout' })
    expect(signal?.aborted).toBe(true)
    expect(await cache.getOrLoad('a', async () => ({ n: 2 }))).toEqual({ n: 2 })
    expect(await until(async () => (await cache.get('a'))?.n === 2)).toBe(true)
  })

  it('loads while Redis is away, but does not hide that a delete failed', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({ url: server.url, clients: { cache: {} } })
    const { cache } = open({ client: clients.client('cache') })
    await cache.set('a', { n: 1 })
    await server.kill()
    await until(() => clients.circuit('cache').state !== 'closed')
    expect(await cache.get('a')).toBeUndefined()
    await cache.set('a', { n: 2 })
    expect(await cache.getOrLoad('a', async () => ({ n: 3 }))).toEqual({ n: 3 })
    await expect(cache.delete('a')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
  })

  it('refuses options that make no sense', () => {
    expect(() => open({ jitter: 1 })).toThrow(/jitter: 1 is not a number/)
    expect(() => open({ ttl: 0 })).toThrow(/ttl: 0 ms is too small/)
    expect(() => open({ loadTimeout: 0 })).toThrow(/loadTimeout: 0 ms is too small/)
    // @ts-expect-error an unknown option
    expect(() => open({ maxAge: 1 })).toThrow(/unknown key "maxAge"/)
  })
})
