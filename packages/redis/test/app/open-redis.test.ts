import { createApp, defineProcess, defineSystem, overrides, silentLogger, type Schema } from '@quintet/core'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { openRedis } from '../../src/app.ts'
import type { RedisClients } from '../../src/index.ts'

const schema: Schema<unknown, { redis: { url: string } }> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as never }) },
}

const systemOn = (url: string) =>
  defineSystem({
    name: 'app',
    version: '1.0.0',
    config: {
      schema,
      sources: [overrides({ redis: { url } })],
    },
    setup: async (context) => ({ redis: await openRedis(context) }),
    processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
  })

describe('openRedis', () => {
  it('opens the Redis of the configuration, answers for it in the health, and closes it with the process', async () => {
    await using server = await startPrivateRedis()
    const app = await createApp(systemOn(server.url), { logger: silentLogger, env: {} })
    const { redis } = app.services as { redis: RedisClients }
    expect(await redis.client('cache').ping()).toBe('PONG')
    expect(await redis.client('cache').client('GETNAME')).toBe('http:cache')
    expect((await app.health.report()).status).toBe('pass')
    server.freeze()
    await until(async () => (await app.health.report()).status === 'fail')
    server.thaw()
    await app.stop()
    await expect(redis.client('cache').ping()).rejects.toThrow()
  })

  it('lets no process start on a server that evicts sessions', async () => {
    await using server = await startPrivateRedis({
      args: ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'],
    })
    const starting = createApp(systemOn(server.url), { logger: silentLogger, env: {} })
    await expect(starting).rejects.toThrow('noeviction')
  })
})
