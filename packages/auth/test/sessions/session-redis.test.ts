import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { createRedisClients } from '@quintet/redis'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { BoundedRedis, defineScript } from '../../src/sessions/session-redis.ts'
import { createTestAuth, createTestClock } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { startProxy } from '../support/proxy.ts'
import { connect } from '../support/redis.ts'

const broken = defineScript(`return redis.call('NO-SUCH-COMMAND')`)
const write = defineScript(`return redis.call('SET', KEYS[1], ARGV[1])`)

const fail = async (redis: BoundedRedis, times: number, command = broken): Promise<void> => {
  for (let count = 0; count < times; count++) {
    expect(await codeOf(redis.run(command, ['bounded'], ['x']))).toBe('ERR_AUTH_UNAVAILABLE')
  }
}
const read = (redis: BoundedRedis): Promise<string> => codeOf(redis.hmget('bounded:none', ['st']))
/** Whether the command was sent at all. */
async function asks(client: Redis, redis: BoundedRedis): Promise<boolean> {
  const before = await client.info('commandstats')
  await read(redis)
  const calls = (text: string): number => Number(/cmdstat_hmget:calls=(\d+)/.exec(text)?.[1] ?? 0)
  return calls(await client.info('commandstats')) > calls(before)
}

describe('the circuit of BoundedRedis', () => {
  it('stays closed for commands that Redis refuses, whatever their number', async () => {
    await using server = await startPrivateRedis()
    const client = connect(server.url)
    const redis = new BoundedRedis(client, 2_000)
    await fail(redis, 50)
    expect(await read(redis)).toBe('resolved')
    client.disconnect()
  })

  it.each(['plain', 'of @quintet/redis'])(
    'stays closed while Redis is out of memory, so that sessions can be read, with a client %s',
    async (kind) => {
      await using server = await startPrivateRedis()
      const plain = connect(server.url)
      await using clients = await createRedisClients({ url: server.url, bootCheck: 'off' })
      const redis = new BoundedRedis(kind === 'plain' ? plain : clients.client('sessions'), 2_000)
      await plain.config('SET', 'maxmemory', '1')
      await fail(redis, 50, write)
      expect(await read(redis)).toBe('resolved')
      plain.disconnect()
    },
  )

  it('opens when Redis is not there, is asked once in a while, and closes with the first answer', async () => {
    await using server = await startPrivateRedis()
    const client = connect(server.url)
    const clock = createTestClock()
    await client.ping()
    const redis = new BoundedRedis(client, 500, clock)
    expect(await read(redis)).toBe('resolved')
    server.freeze()
    for (let count = 0; count < 5; count++) expect(await read(redis)).toBe('ERR_AUTH_UNAVAILABLE')
    server.thaw()
    await client.ping()
    expect(await asks(client, redis)).toBe(false)
    clock.advance(251)
    expect(await asks(client, redis)).toBe(true)
    expect(await asks(client, redis)).toBe(true)
    client.disconnect()
  })

  it('opens when Redis is there and cannot serve, such as a replica that is written to', async () => {
    await using server = await startPrivateRedis()
    const client = connect(server.url)
    const redis = new BoundedRedis(client, 2_000, createTestClock())
    await client.replicaof('127.0.0.1', '1')
    await fail(redis, 5, write)
    expect(await asks(client, redis)).toBe(false)
    client.disconnect()
  })

  it('opens when the connection is refused', async () => {
    const client = connect('redis://127.0.0.1:1')
    const clock = createTestClock()
    const redis = new BoundedRedis(client, 2_000, clock)
    await until(() => client.status === 'reconnecting')
    for (let count = 0; count < 5; count++) expect(await read(redis)).toBe('ERR_AUTH_UNAVAILABLE')
    const started = performance.now()
    for (let count = 0; count < 100; count++) expect(await read(redis)).toBe('ERR_AUTH_UNAVAILABLE')
    expect(performance.now() - started).toBeLessThan(100)
    client.disconnect()
  })
})

describe('a command whose caller was told that it failed', () => {
  it.each(['a server that is not there yet', 'a server that is away for a while'])(
    'is never sent to %s',
    async (when) => {
      await using server = await startPrivateRedis()
      await using proxy = await startProxy(server.port)
      if (when === 'a server that is not there yet') proxy.cut()
      const client = new Redis(proxy.url, { retryStrategy: () => 100, maxRetriesPerRequest: 0 })
      client.on('error', () => undefined)
      if (when !== 'a server that is not there yet') {
        await until(() => client.status === 'ready')
        proxy.cut()
        await until(() => client.status !== 'ready')
      }
      const redis = new BoundedRedis(client, 20)
      expect(await codeOf(redis.run(write, ['told'], ['x']))).toBe('ERR_AUTH_UNAVAILABLE')
      proxy.restore()
      await until(() => client.status === 'ready')
      expect(await client.exists('told')).toBe(0)
      await until(async () => (await codeOf(redis.run(write, ['told'], ['x']))) === 'resolved')
      client.disconnect()
    },
  )

  it('is sent by a client that connects at its first command', async () => {
    const client = new Redis(redisUrl(), { lazyConnect: true, maxRetriesPerRequest: 0 })
    expect(await codeOf(new BoundedRedis(client, 2_000).hmget('none', ['a']))).toBe('resolved')
    client.disconnect()
  })

  it('could be sent again by a client with retries, so that an authority refuses it', async () => {
    const client = new Redis(redisUrl(), { lazyConnect: true })
    await expect(createTestAuth({ redis: client })).rejects.toThrow('maxRetriesPerRequest: 0')
    client.disconnect()
  })
})
