import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Redis } from 'ioredis'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRedisClients, createTrackedCache } from '../../src/index.ts'
import type { RedisClients, TrackedCache, TrackedCacheOptions } from '../../src/index.ts'

let clients: RedisClients<'a'>
let writer: Redis
let serial = 0

beforeAll(async () => {
  clients = await createRedisClients({ url: redisUrl(), clients: { a: { db: 5 } } })
  writer = new Redis(redisUrl(), { db: 5 })
})

afterAll(async () => {
  writer.disconnect()
  await clients.close()
})

/** A cache of strings under a prefix of its own, and a count of its loads. */
async function open(options: Partial<TrackedCacheOptions<string | null>> = {}) {
  const client = options.client ?? clients.client('a')
  const prefix = `tracked:${process.pid}:${++serial}:`
  const loads: string[] = []
  const cache = createTrackedCache<string | null>({
    client,
    prefix,
    load(key) {
      loads.push(key)
      return client.get(key)
    },
    ...options,
  })
  await cache.whenTrusted(AbortSignal.timeout(5_000))
  return { cache, prefix, loads, [Symbol.asyncDispose]: () => cache.close() }
}

describe('createTrackedCache', () => {
  it('loads a key once, serves it from memory, and loads it again after a write by somebody else', async () => {
    await using it = await open()
    const key = `${it.prefix}key`
    await writer.set(key, 'one', 'EX', 60)
    expect(it.cache.peek(key)).toBeUndefined()
    expect(await Promise.all([it.cache.get(key), it.cache.get(key)])).toEqual(['one', 'one'])
    expect(it.cache.peek(key)).toBe('one')
    expect(it.loads).toEqual([key])
    await writer.set(key, 'two', 'EX', 60)
    await until(() => it.cache.peek(key) === undefined)
    expect(await it.cache.get(key)).toBe('two')
    expect(it.loads).toHaveLength(2)
  })

  it('keeps the absence of a key, until the key is made', async () => {
    await using it = await open()
    const key = `${it.prefix}absent`
    expect(await it.cache.get(key)).toBeNull()
    expect(it.cache.peek(key)).toBeNull()
    await writer.set(key, 'made', 'EX', 60)
    await until(() => it.cache.peek(key) === undefined)
    expect(await it.cache.get(key)).toBe('made')
  })

  it('hears of deletion, expiry, and hash writes', async () => {
    await using it = await open()
    const key = `${it.prefix}key`
    for (const change of [
      () => writer.del(key),
      () => writer.pexpire(key, 1),
      () => writer.append(key, 'x'),
    ]) {
      await writer.set(key, 'value', 'EX', 60)
      await until(async () => (await it.cache.get(key)) === 'value' && it.cache.peek(key) === 'value')
      await change()
      await until(async () => (await it.cache.get(key)) !== 'value')
    }
  })

  it('tells listeners the key of every write under the prefix, until they are disposed', async () => {
    await using it = await open()
    const heard: (string | null)[] = []
    const listener = it.cache.onInvalidate((key) => heard.push(key))
    it.cache.onInvalidate(() => {
      throw new Error('a bad listener')
    })
    await writer.set(`${it.prefix}never-read`, '1', 'EX', 60)
    await until(() => heard.includes(`${it.prefix}never-read`))
    await writer.set('elsewhere', '1', 'EX', 1)
    listener[Symbol.dispose]()
    const other: (string | null)[] = []
    it.cache.onInvalidate((key) => other.push(key))
    await writer.set(`${it.prefix}later`, '1', 'EX', 60)
    await until(() => other.includes(`${it.prefix}later`))
    expect(heard).toEqual([`${it.prefix}never-read`])
  })

  it('sees through the key prefix of its client', async () => {
    await using prefixed = await createRedisClients({
      url: redisUrl(),
      clients: { a: { db: 5, prefix: 'outer:' } },
    })
    await using it = await open({ client: prefixed.client('a') })
    const key = `${it.prefix}key`
    await prefixed.client('a').set(key, 'one', 'EX', 60)
    expect(await it.cache.get(key)).toBe('one')
    await writer.set(`outer:${key}`, 'two', 'EX', 60)
    await until(() => it.cache.peek(key) === undefined)
    expect(await it.cache.get(key)).toBe('two')
  })

  it('works with a client that somebody else made, under RESP3', async () => {
    const client = new Redis(redisUrl(), { db: 5 })
    try {
      await using it = await open({ client })
      const key = `${it.prefix}key`
      await it.cache.get(key)
      await writer.set(key, 'one', 'EX', 60)
      await until(() => it.cache.peek(key) === undefined)
    } finally {
      client.disconnect()
    }
  })

  it('holds at most maxEntries, and keeps those that are read', async () => {
    await using it = await open({ maxEntries: 10 })
    const hot = `${it.prefix}hot`
    for (let index = 0; index < 100; index++) {
      await it.cache.get(hot)
      await it.cache.get(`${it.prefix}${index}`)
    }
    expect(it.cache.size).toBe(10)
    expect(it.cache.peek(hot)).toBeNull()
    expect(it.loads.filter((key) => key === hot)).toHaveLength(1)
  })

  it('does not keep undefined, nor an answer that was overtaken by a write, nor a failure', async () => {
    const answer = Promise.withResolvers<string | null>()
    let failing = true
    await using it = await open({
      load: async (key) => {
        if (key.endsWith('slow')) return answer.promise
        if (key.endsWith('none')) return undefined as unknown as null
        if (failing) throw new Error('the load failed')
        return 'fine'
      },
    })
    const slow = `${it.prefix}slow`
    const first = it.cache.get(slow)
    const heard = new Promise((resolve) => it.cache.onInvalidate(resolve))
    await writer.set(slow, 'new', 'EX', 60)
    await heard
    answer.resolve('old')
    expect(await first).toBe('old')
    expect(it.cache.peek(slow)).toBeUndefined()
    expect(await it.cache.get(`${it.prefix}none`)).toBeUndefined()
    await expect(it.cache.get(`${it.prefix}bad`)).rejects.toThrow('the load failed')
    failing = false
    expect(await it.cache.get(`${it.prefix}bad`)).toBe('fine')
  })

  it('refuses a cluster, an empty prefix, unknown options and a lease that is too short', () => {
    const client = clients.client('a')
    const load = (): Promise<null> => Promise.resolve(null)
    const cluster = { isCluster: true, options: {} } as unknown as Redis
    expect(() => createTrackedCache({ client: cluster, prefix: 's:', load })).toThrow(
      /cluster cannot be tracked/,
    )
    expect(() => createTrackedCache({ client, prefix: '', load })).toThrow(/every write would be heard/)
    expect(() => createTrackedCache({ client, prefix: 's:', load, lease: 5 })).toThrow(/at least 20 ms/)
    expect(() => createTrackedCache({ client, prefix: 's:', load, maxEntries: 0 })).toThrow(
      /not a number of entries/,
    )
    // @ts-expect-error an unknown option
    expect(() => createTrackedCache({ client, prefix: 's:', load, ttl: 5 })).toThrow(/unknown key "ttl"/)
  })
})

describe('in doubt', () => {
  it('is emptied by FLUSHDB, and tells listeners that anything may have changed', async () => {
    await using server = await startPrivateRedis()
    await using own = await createRedisClients({ url: server.url, clients: { a: {} } })
    await using it = await open({ client: own.client('a') })
    const heard: (string | null)[] = []
    it.cache.onInvalidate((key) => heard.push(key))
    await it.cache.get(`${it.prefix}key`)
    await own.client('a').flushdb()
    await until(() => heard.includes(null))
    expect(it.cache.size).toBe(0)
    expect(it.cache.trusted).toBe(true)
  })

  it('reads directly while the tracking connection is gone, and is trusted again by itself', async () => {
    await using it = await open()
    const key = `${it.prefix}key`
    await writer.set(key, 'one', 'EX', 60)
    await it.cache.get(key)
    const doubt = new Promise((resolve) => it.cache.onInvalidate(resolve))
    const list = String(await writer.client('LIST'))
    const [, id] =
      /id=(\d+) [^\n]*name=quintet:a:tracking[^\n]*/.exec(lineWith(list, `quintet:a:tracking`)) ?? []
    await writer.client('KILL', 'ID', Number(id))
    expect(await doubt).toBeNull()
    expect(it.cache.size).toBe(0)
    await writer.set(key, 'two', 'EX', 60)
    expect(await it.cache.get(key)).toBe('two')
    await it.cache.whenTrusted(AbortSignal.timeout(5_000))
    await it.cache.get(key)
    expect(it.cache.peek(key)).toBe('two')
  })

  it('serves nothing from memory while the server is frozen for longer than the lease, and passes failures on', async () => {
    await using server = await startPrivateRedis()
    await using own = await createRedisClients({ url: server.url, clients: { a: { commandTimeout: 100 } } })
    await using it = await open({ client: own.client('a'), lease: 200 })
    const key = `${it.prefix}key`
    await it.cache.get(key)
    server.freeze()
    const begin = performance.now()
    await until(() => !it.cache.trusted)
    expect(performance.now() - begin).toBeLessThan(260)
    expect(it.cache.peek(key)).toBeUndefined()
    await expect(it.cache.get(key)).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    server.thaw()
    await it.cache.whenTrusted(AbortSignal.timeout(10_000))
    await until(() => it.cache.get(key).then(() => true))
  })

  it('stays true when the server comes back empty', async () => {
    await using server = await startPrivateRedis()
    await using own = await createRedisClients({
      url: server.url,
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    await using it = await open({ client: own.client('a') })
    const key = `${it.prefix}key`
    await own.client('a').set(key, 'one')
    expect(await it.cache.get(key)).toBe('one')
    await server.restart()
    await it.cache.whenTrusted(AbortSignal.timeout(10_000))
    await until(async () => (await it.cache.get(key)) === null)
  })

  it('follows its client, whose next connection may reach another server', async () => {
    await using own = await createRedisClients({ url: redisUrl(), clients: { a: { db: 5 } } })
    await using it = await open({ client: own.client('a') })
    await it.cache.get(`${it.prefix}key`)
    const doubt = new Promise((resolve) => it.cache.onInvalidate(resolve))
    own.client('a').disconnect(true)
    expect(await doubt).toBeNull()
    await it.cache.whenTrusted(AbortSignal.timeout(5_000))
  })

  it('loads without keeping once it is closed', async () => {
    const it = await open()
    await it.cache.get(`${it.prefix}key`)
    await Promise.all([it.cache.close(), it.cache.close()])
    expect(it.cache.peek(`${it.prefix}key`)).toBeUndefined()
    expect(await it.cache.get(`${it.prefix}key`)).toBeNull()
    expect(it.cache.size).toBe(0)
    expect(it.cache.trusted).toBe(false)
    await expect(it.cache.whenTrusted(AbortSignal.timeout(20))).rejects.toThrow(/timeout|aborted/)
  })

  it('reads directly for a user that may not track', async () => {
    await using server = await startPrivateRedis()
    const admin = new Redis(server.url)
    try {
      await admin.acl('SETUSER', 'narrow', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
      const url = `redis://narrow:pw@127.0.0.1:${server.port}`
      await using own = await createRedisClients({ url, clients: { a: {} } })
      await using cache = createTrackedCache({
        client: own.client('a'),
        prefix: 's:',
        load: (key) => own.client('a').get(key),
      })
      await expect(cache.whenTrusted(AbortSignal.timeout(300))).rejects.toThrow()
      await admin.set('s:1', 'one')
      expect(await cache.get('s:1')).toBe('one')
      expect(cache.peek('s:1')).toBeUndefined()
    } finally {
      admin.disconnect()
    }
  })
})

describe('a half-open connection', () => {
  it('is stale for at most the lease, counted from the write', async () => {
    const target = new URL(redisUrl())
    await using proxy = await startSilencingProxy(Number(target.port), target.hostname)
    const client = new Redis({ port: proxy.port, db: 5 })
    client.on('error', () => undefined)
    try {
      const lease = 400
      const load = (key: string): Promise<string | null> => writer.get(key)
      await using it = await open({ client, lease, load })
      const key = `${it.prefix}key`
      await writer.set(key, 'one', 'EX', 60)
      await until(async () => (await it.cache.get(key)) === 'one' && it.cache.peek(key) === 'one')
      proxy.silence()
      const written = performance.now()
      await writer.set(key, 'two', 'EX', 60)
      let stale = 0
      while (performance.now() - written < lease * 2) {
        const begin = performance.now()
        if ((await it.cache.get(key)) === 'one') stale = begin - written
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(stale).toBeGreaterThan(0)
      expect(stale).toBeLessThanOrEqual(lease)
      proxy.speak()
      await it.cache.whenTrusted(AbortSignal.timeout(10_000))
    } finally {
      client.disconnect()
    }
  })
})

describe('60,000 revocations under load', () => {
  it('leave no stale entry', async () => {
    await using it = await open({ maxEntries: 100_000 })
    const revocations = 60_000
    const sessions = 2_000
    const keyOf = (session: number): string => `${it.prefix}${session}`
    const versions = new Map<string, number>()
    let written = 0
    let stopped = false
    let reads = 0
    const readers = Array.from({ length: 50 }, async () => {
      while (!stopped) {
        const key = keyOf(Math.floor(Math.random() * sessions))
        await it.cache.get(key)
        reads += 1
      }
    })
    while (written < revocations) {
      const pipeline = writer.pipeline()
      for (let index = 0; index < 200; index++) {
        const key = keyOf(Math.floor(Math.random() * sessions))
        const version = (versions.get(key) ?? 0) + 1
        versions.set(key, version)
        if (version % 3 === 0) pipeline.del(key)
        else pipeline.set(key, String(version), 'EX', 120)
        written += 1
      }
      await pipeline.exec()
    }
    stopped = true
    await Promise.all(readers)
    const last = keyOf(sessions)
    const heard = new Promise<void>((resolve) => {
      it.cache.onInvalidate((key) => key === last && resolve())
    })
    await writer.set(last, 'end', 'EX', 120)
    await heard
    const stale: string[] = []
    for (const [key, version] of versions) {
      const truth = version % 3 === 0 ? null : String(version)
      const kept = it.cache.peek(key)
      if (kept !== undefined && kept !== truth) stale.push(key)
    }
    expect(stale).toEqual([])
    expect(it.loads.length).toBeGreaterThan(sessions)
    expect(reads).toBeGreaterThan(it.loads.length)
  })
})

function lineWith(list: string, text: string): string {
  const lines = list.split('\n').filter((line) => line.includes(text))
  return lines.at(-1) ?? ''
}

/** A proxy that can stop forwarding while it keeps its connections open: a network that went silent. */
async function startSilencingProxy(port: number, host: string) {
  const sockets = new Set<Socket>()
  let silent = false
  const server = createServer((near) => {
    const far = connect(port, host)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk) => void (silent || to.write(chunk)))
      from.on('close', () => to.destroy())
      from.on('error', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => void (silent = true),
    speak: () => void (silent = false),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
