import { once } from 'node:events'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLocks, createRateLimiter, createRedisClients, isRedisUnavailable } from '../../src/index.ts'
import {
  startCluster,
  startClusterNode,
  startReplicated,
  startSentinel,
  startTlsClusterNode,
} from '../support/processes.ts'
import { makeCertificate } from '../support/certificate.ts'
import { startProxy } from '../support/proxy.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

describe('a cluster', () => {
  it('tells the default clients apart by prefix, and runs scripts', async () => {
    await using node = await startClusterNode()
    const nodes = [{ host: '127.0.0.1', port: node.port }]
    await using clients = await createRedisClients({
      cluster: { nodes },
      bootCheck: 'refuse',
      commandTimeout: '20s',
    })
    await clients.client('sessions').set('key', 'a session')
    await clients.client('cache').set('key', 'a cache entry')
    expect(await clients.client('sessions').get('key')).toBe('a session')
    await using plain = plainClient(node.url, 0)
    expect((await plain.keys('*')).toSorted()).toEqual(['cache:key', 'sessions:key'])
    const limiter = createRateLimiter({ client: clients.client('ratelimit'), timeout: '20s' })
    expect(await limiter.consume('key', { limit: 5, period: '1m' })).toMatchObject({
      source: 'redis',
      remaining: 4,
    })
    await using lock = await createLocks({ client: clients.client('locks') }).acquire('job')
    expect(lock.fencingToken).toBeGreaterThan(0)
    await clients.client('queue').set('bull:x', '1')
    expect(await plain.exists('bull:x')).toBe(1)
    expect(await clients.healthCheck().check(AbortSignal.timeout(20_000))).toMatch(/^sessions \d/)
  })

  it('fails fast while it is away and recovers', async () => {
    await using node = await startClusterNode()
    const nodes = [{ host: '127.0.0.1', port: node.port }]
    await using clients = await createRedisClients({
      cluster: { nodes },
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    const client = clients.client('a')
    await client.set('key', '1')
    node.freeze()
    const begin = performance.now()
    await expect(client.get('key')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    expect(performance.now() - begin).toBeLessThan(5_000)
    node.thaw()
    await until(() => client.get('key'))
    await node.kill()
    const failure = await until(() =>
      client.get('key').then(
        () => undefined,
        (error: unknown) => error,
      ),
    )
    expect(isRedisUnavailable(failure)).toBe(true)
    expect(failure).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    await until(() => clients.circuit('a').state !== 'closed')
    await node.restart()
    expect(await until(async () => (await client.get('other')) === null)).toBe(true)
    await clients.close()
    await expect(client.get('key')).rejects.toMatchObject({ code: 'ERR_REDIS_CLOSED' })
  })

  it('sends no command twice that may have run', async () => {
    await using node = await startClusterNode()
    await using proxy = await startProxy(node.url)
    await using plain = plainClient(node.url, 0)
    // So the client is led through the proxy.
    await plain.config('SET', 'cluster-announce-port', String(proxy.port))
    await using clients = await createRedisClients({
      cluster: { nodes: [{ host: '127.0.0.1', port: proxy.port }] },
      clients: { a: {} },
      commandTimeout: '20s',
      connectTimeout: '20s',
      reconnect: { min: 10, max: 20 },
    })
    const client = clients.client('a')
    await client.set('count', 0)
    proxy.set(400)
    const outcome = client.incr('count').then(
      () => undefined,
      (error: unknown) => error,
    )
    await until(async () => (await plain.get('a:count')) === '1')
    proxy.cut()
    proxy.set(0)
    expect(await outcome).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    await until(() => client.get('other').then(() => true))
    expect(await plain.get('a:count')).toBe('1')
  })

  it('has only database 0, and no servers of their own for clients', async () => {
    const cluster = { nodes: [{ host: '127.0.0.1', port: 1 }] }
    await expect(createRedisClients({ cluster, clients: { a: { db: 1 } } })).rejects.toThrow(
      'createRedisClients.clients.a.db: a cluster has only database 0, not 1. Tell clients apart by prefix.',
    )
    await expect(createRedisClients({ cluster, clients: { a: { url: 'redis://h' } } })).rejects.toThrow(
      /no URL of its own/,
    )
  })

  it('gives up an eager start in time', async () => {
    const cluster = { nodes: [{ host: '127.0.0.1', port: 1 }] }
    await expect(createRedisClients({ cluster, clients: { a: {} }, connectTimeout: 200 })).rejects.toThrow(
      /found no server within 200 ms: Connection is closed/,
    )
  })
})

describe('a cluster of three masters', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>
  beforeAll(async () => {
    cluster = await startCluster()
  })
  afterAll(() => cluster[Symbol.asyncDispose]())

  it('is refused when any master may evict what must stay', async () => {
    await using plain = plainClient(cluster.masters[2]?.url, 0)
    await plain.config('SET', 'maxmemory-policy', 'allkeys-lfu')
    const nodes = cluster.masters.map(({ port }) => ({ host: '127.0.0.1', port }))
    // Often enough that asking one master, whichever, would not do.
    for (let attempt = 0; attempt < 6; attempt++) {
      const starting = createRedisClients({
        cluster: { nodes },
        bootCheck: 'refuse',
        commandTimeout: '20s',
        connectTimeout: '20s',
      })
      await expect(starting).rejects.toMatchObject({
        code: 'ERR_REDIS_UNSUITABLE',
        message: expect.stringContaining('maxmemory-policy is allkeys-lfu') as string,
      })
    }
    await plain.config('SET', 'maxmemory-policy', 'noeviction')
  })

  it('serves what other masters have while one is away, and the rest after its replica took over', async () => {
    const nodes = cluster.masters.map(({ port }) => ({ host: '127.0.0.1', port }))
    await using clients = await createRedisClients({
      cluster: { nodes },
      clients: { a: {} },
      bootCheck: 'refuse',
      commandTimeout: '1s',
      connectTimeout: '20s',
      reconnect: { min: 10, max: 50 },
    })
    const client = clients.client('a')
    const [first] = cluster.masters
    const keys = Array.from({ length: 30 }, (_, index) => `key:${index}`)
    await until(() => Promise.all(keys.map((key) => client.set(key, key))))
    await using plain = plainClient(first?.url, 0)
    const onFirst = new Set((await plain.keys('*')).map((key) => key.slice('a:'.length)))
    expect(onFirst.size).toBeGreaterThan(0)
    expect(onFirst.size).toBeLessThan(keys.length)
    await until(async () => (await plain.wait(1, 100)) === 1)

    await first?.kill()
    const begin = performance.now()
    const outcomes = await Promise.allSettled(keys.map((key) => client.get(key)))
    expect(performance.now() - begin).toBeLessThan(5_000)
    for (const [index, outcome] of outcomes.entries()) {
      const key = keys[index] ?? ''
      if (!onFirst.has(key)) expect(outcome).toMatchObject({ status: 'fulfilled', value: key })
      else expect(outcome).toMatchObject({ reason: { code: 'ERR_REDIS_UNAVAILABLE' } })
    }
    const read = await until(() => Promise.all(keys.map((key) => client.get(key))), 30_000)
    expect(read).toEqual(keys)
    await until(() => client.set(keys[0] ?? '', 'written again'))
  })
})

describe('sentinels', () => {
  it('lead to the master, and to the new one after a failover, without a restart of ours', async () => {
    await using servers = await startReplicated()
    const { master, replica } = servers
    await using sentinel = await startSentinel(master.port)
    // The first sentinel is frozen, as a machine that hangs is; it is passed over after the command timeout.
    await using frozen = await startPrivateRedis()
    frozen.freeze()
    const ports = [frozen.port, sentinel.port]
    await using clients = await createRedisClients({
      sentinel: { name: 'main', nodes: ports.map((port) => ({ host: '127.0.0.1', port })) },
      connectTimeout: '20s',
      clients: { a: { db: 1 } },
      reconnect: { min: 20, max: 100 },
    })
    const client = clients.client('a')
    await client.set('key', 'kept')
    await until(async () => (await client.wait(1, 100)) === 1)
    await master.kill()
    await until(() => clients.circuit('a').state !== 'closed')
    // At once: there is no connection on which it could wait.
    await expect(client.get('key')).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      cause: { message: expect.stringContaining("isn't writeable") as string },
    })
    await until(() => client.set('key', 'written again'), 20_000)
    await using promoted = plainClient(replica.url, 1)
    expect(await promoted.get('key')).toBe('written again')
  })
})

describe('TLS', () => {
  it('is used for rediss URLs and with TLS options', async () => {
    // With a pre-shared key no certificate is needed.
    const psk = Buffer.from('0123456789abcdef')
    const target = new URL(redisUrl())
    const server = createServer(
      {
        ciphers: 'PSK+HIGH',
        maxVersion: 'TLSv1.2',
        pskCallback: (_, identity) => (identity === 'quintet' ? psk : null),
      },
      (near) => {
        const far = connect(Number(target.port), target.hostname)
        near.on('error', () => far.destroy())
        far.on('error', () => near.destroy())
        near.pipe(far).pipe(near)
      },
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const tls = {
      ciphers: 'PSK+HIGH',
      maxVersion: 'TLSv1.2',
      pskCallback: () => ({ psk, identity: 'quintet' }),
      checkServerIdentity: () => undefined,
    } as const
    const key = uniquePrefix()
    try {
      for (const scheme of ['rediss', 'redis']) {
        await using clients = await createRedisClients({
          url: `${scheme}://:${target.password}@127.0.0.1:${port}`,
          tls,
          clients: { a: { db: 5 } },
        })
        await clients.client('a').set(key, scheme, 'EX', 60)
        expect(await clients.client('a').get(key)).toBe(scheme)
      }
      const failed = createRedisClients({
        url: `rediss://127.0.0.1:${port}`,
        clients: { a: {} },
        connectTimeout: 300,
      })
      await expect(failed).rejects.toThrow(/handshake|SSL|no shared cipher/i)
    } finally {
      server.close()
    }
  })

  it('reaches a cluster by the names that its certificates are made for', async () => {
    await using certificate = await makeCertificate('localhost')
    await using node = await startTlsClusterNode(certificate)
    const cluster = { nodes: [{ host: 'localhost', port: node.tlsPort }] }
    const tls = { ca: certificate.ca }
    await using clients = await createRedisClients({
      cluster,
      tls,
      clients: { a: {} },
      connectTimeout: '20s',
    })
    expect(await clients.client('a').set('key', '1')).toBe('OK')
  })
})

describe('natMap', () => {
  it('tells where a cluster is reached that announces an address of its own network', async () => {
    await using node = await startClusterNode()
    await using admin = plainClient(node.url, 0)
    await admin.config('SET', 'cluster-announce-ip', '192.0.2.1')
    await until(async () => String(await admin.cluster('SLOTS')).includes('192.0.2.1'))
    const here = { host: '127.0.0.1', port: node.port }
    await using clients = await createRedisClients({
      cluster: { nodes: [here], natMap: { [`192.0.2.1:${node.port}`]: here } },
      clients: { a: {} },
      commandTimeout: '20s',
      connectTimeout: '20s',
    })
    expect(await clients.client('a').set('key', '1')).toBe('OK')
  })
})
