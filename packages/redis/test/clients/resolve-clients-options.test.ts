import { describe, expect, it } from 'vitest'
import { defaultClients, redisClientsDefaults } from '../../src/index.ts'
import type { RedisClientsOptions } from '../../src/index.ts'
import { createConnection } from '../../src/clients/connection.ts'
import { GuardedRedis } from '../../src/clients/guarded-redis.ts'
import { resolveRedisClientsOptions } from '../../src/clients/resolve-clients-options.ts'

const url = 'redis://localhost'

function settingsOf(options: RedisClientsOptions, name: string, blocking = false) {
  const resolved = resolveRedisClientsOptions(options)
  const client = resolved.clients.get(name)
  if (client === undefined) throw new Error(`no client ${name}`)
  const connection = createConnection(name, client, resolved, { blocking })
  connection.disconnect()
  if (!(connection instanceof GuardedRedis)) throw new Error('a cluster')
  return connection.options
}

describe('resolveRedisClientsOptions', () => {
  it('fills in the documented defaults and leaves what it was given alone', () => {
    const given = Object.freeze({ url })
    const resolved = resolveRedisClientsOptions(given)
    expect(Object.keys(defaultClients)).toEqual(['sessions', 'cache', 'queue', 'ratelimit', 'locks'])
    expect([...resolved.clients].map(([name, { db, mayEvict }]) => [name, db, mayEvict])).toEqual([
      ['sessions', 0, false],
      ['cache', 1, true],
      ['queue', 2, false],
      ['ratelimit', 3, true],
      ['locks', 4, false],
    ])
    expect(resolved).toMatchObject({
      connect: 'eager',
      connectTimeout: 5_000,
      bootCheck: 'warn',
      connectionName: 'quintet',
    })
    expect(resolved.reconnect).toEqual({ min: 50, max: 2_000 })
    expect(resolved.clients.get('cache')?.commandTimeout).toBe(500)
    expect(redisClientsDefaults.commandTimeout).toBe(500)
  })

  it('fails fast on request connections and waits on blocking ones', () => {
    expect(settingsOf({ url, commandTimeout: '1s' }, 'cache')).toMatchObject({
      protocol: 2,
      maxRetriesPerRequest: 0,
      commandTimeout: 1_000,
      socketTimeout: 2_000,
    })
    const blocking = settingsOf({ url, commandTimeout: '1s' }, 'queue', true)
    expect(blocking).toMatchObject({ maxRetriesPerRequest: null, enableOfflineQueue: true, db: 2 })
    expect(blocking.commandTimeout).toBeUndefined()
    expect(blocking.socketTimeout).toBeUndefined()
  })

  it('reconnects for ever in growing pauses that differ', () => {
    const { retryStrategy } = settingsOf({ url, reconnect: { min: 100, max: '1s' } }, 'cache')
    const pauses = (attempt: number): number[] =>
      Array.from({ length: 50 }, () => Number(retryStrategy?.(attempt)))
    for (const [attempt, full] of [
      [1, 100],
      [2, 200],
      [4, 800],
      [5, 1_000],
      [1e6, 1_000],
    ] as const) {
      const drawn = pauses(attempt)
      expect(Math.min(...drawn)).toBeGreaterThanOrEqual(full / 2)
      expect(Math.max(...drawn)).toBeLessThanOrEqual(full)
      expect(new Set(drawn).size).toBeGreaterThan(5)
    }
  })

  it('takes user name and password from the URL or beside it', () => {
    expect(settingsOf({ url: 'redis://me:p%40ss@host:7000' }, 'cache')).toMatchObject({
      host: 'host',
      port: 7_000,
      username: 'me',
      password: 'p@ss',
    })
    const beside = { url: 'redis://me:old@host', username: 'you', password: { reveal: () => 'new' } }
    expect(settingsOf(beside, 'cache')).toMatchObject({ username: 'you', password: 'new' })
  })

  it('reads unix sockets, IPv6 hosts and TLS from the URL', () => {
    expect(settingsOf({ url: '/run/redis.sock' }, 'cache')).toMatchObject({ path: '/run/redis.sock' })
    expect(settingsOf({ url: 'redis://[::1]:7000' }, 'cache')).toMatchObject({ host: '::1', port: 7_000 })
    expect(settingsOf({ url: 'rediss://host/0' }, 'cache')).toMatchObject({
      host: 'host',
      port: 6_379,
      tls: {},
    })
    expect(settingsOf({ url, tls: { servername: 'other' } }, 'cache').tls).toEqual({ servername: 'other' })
    expect(settingsOf({ url }, 'cache').tls).toBeUndefined()
  })

  it('passes what sentinels need', () => {
    const sentinel = {
      name: 'main',
      nodes: [{ host: 'a', port: 1 }],
      username: 's',
      password: { reveal: () => 'p' },
    }
    expect(settingsOf({ sentinel, password: 'data' }, 'cache')).toMatchObject({
      name: 'main',
      sentinels: [{ host: 'a', port: 1 }],
      sentinelUsername: 's',
      sentinelPassword: 'p',
      password: 'data',
      db: 1,
    })
  })

  it('takes a way to the server that is not there for one that is not given', () => {
    const nodes = [{ host: 'a', port: 1 }]
    const ways: RedisClientsOptions[] = [
      { url, sentinel: undefined, cluster: undefined },
      { url: undefined, sentinel: { name: 'main', nodes }, cluster: undefined },
      { url: undefined, sentinel: undefined, cluster: { nodes } },
    ]
    const kinds = ways.map((options) => resolveRedisClientsOptions(options).target.kind)
    expect(kinds).toEqual(['server', 'sentinel', 'cluster'])
  })

  it.each([
    [{}, /give exactly one of url, sentinel and cluster\./],
    [
      { url, cluster: { nodes: [{ host: 'a', port: 1 }] } },
      /exactly one of url, sentinel and cluster, not url and cluster/,
    ],
    [{ url, clinets: {} }, /createRedisClients: unknown key "clinets". Did you mean "clients"/],
    [{ url, clients: {} }, /name at least one client/],
    [{ url, clients: { a: { database: 1 } } }, /createRedisClients.clients.a: unknown key "database"/],
    [{ url, clients: { a: { db: -1 } } }, /clients.a.db: -1 is not a whole number of at least 0/],
    [
      { url, clients: { a: { eviction: 'no' } } },
      /clients.a.eviction: "no" is not one of 'never', 'allowed'/,
    ],
    [{ url, connect: 'soon' }, /connect: "soon" is not one of/],
    [{ url, bootCheck: 'strict' }, /bootCheck: "strict" is not one of/],
    [{ url, commandTimeout: 0 }, /commandTimeout: 0 ms is too small. Give 1 ms or more/],
    [{ url, reconnect: { min: 10, max: 5 } }, /max \(5 ms\) is below min \(10 ms\)/],
    [{ url, reconnect: { jitter: 1 } }, /reconnect: unknown key "jitter"/],
    [{ sentinel: { name: 'x', nodes: [] } }, /sentinel.nodes: has 0 of at least 1, each an object/],
    [{ sentinel: { name: 'x', nodes: [{ host: 'a', prot: 1 }] } }, /nodes\[0\]: unknown key "prot"/],
    [{ sentinel: { name: 'x', nodes: [{ host: 'a', port: 1 }], pass: '' } }, /sentinel: unknown key "pass"/],
    [{ cluster: { nodes: [{ host: 'a', port: 1 }], startup: 1 } }, /cluster: unknown key "startup"/],
    [{ url: 'http://host' }, /createRedisClients.url: not a Redis URL/],
    [{ url: 'localhost:6379' }, /createRedisClients.url: not a Redis URL/],
    [{ url: 'redis://host/3' }, /names the path \/3. Clients choose their database by `db`/],
    [{ url: 'redis://host?family=6' }, /takes no query/],
    [{ url: 'redis://a:%zz@host' }, /not properly percent-encoded/],
    [{ url, clients: { a: { url: 'nowhere' } } }, /createRedisClients.clients.a.url: not a Redis URL/],
  ])('refuses %o', (options, message) => {
    expect(() => resolveRedisClientsOptions(options as unknown as RedisClientsOptions)).toThrow(message)
  })
})
