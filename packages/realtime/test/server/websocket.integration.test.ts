import { randomUUID } from 'node:crypto'
import { createTestHost, testUser } from '@quintet/core/testing'
import { websocket } from '@quintet/server'
import { redisUrl, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createRealtimeClient } from '../../src/client.ts'
import { channel, channels, createPublisher } from '../../src/index.ts'

describe("channels on Quintet's WebSocket transport", () => {
  let redis: Redis
  beforeAll(() => {
    redis = new Redis(redisUrl())
  })
  afterAll(() => redis.disconnect())

  it('fan out over two instances, resume, end with the session, and say goodbye', async () => {
    const prefix = `test-server-${randomUUID()}`
    const notices = channel('notices', { access: 'authenticated' })
    const instances = await Promise.all(
      ['first', 'second'].map(async () => {
        const host = createTestHost({
          provide: { redis },
          tokens: {
            alice: testUser({ userId: 'alice', sessionId: 's-alice' }),
            anna: testUser({ userId: 'anna', sessionId: 's-anna' }),
          },
        })
        const running = await websocket({
          protocols: [
            channels({ redis: (services: { redis: Redis }) => services.redis, channels: [notices], prefix }),
          ],
        }).start(host)
        return { host, running, url: (running.url ?? '').replace(/^http/, 'ws') }
      }),
    )
    const [first, second] = instances
    if (!first || !second) throw new Error('two instances were started')
    const clients = [
      createRealtimeClient({ url: first.url, token: 'alice' }),
      createRealtimeClient({ url: second.url, token: 'anna' }),
    ]
    const events: unknown[] = []
    await Promise.all(
      clients.map((client) => client.subscribe('notices', { onEvent: (event) => events.push(event) }).ready),
    )
    await createPublisher({ redis, prefix, channels: [notices] }).publish(
      'notices',
      { tenantId: 'tenant-a' },
      { made: true },
    )
    await until(() => events.length === 2)
    expect(events).toEqual([{ made: true }, { made: true }])

    first.host.auth.end('alice', 'revoked')
    await until(() => clients[0]?.status === 'closed')

    const socket = new WebSocket(second.url, ['quintet.realtime.v1', 'bearer.anna'])
    const messages: { type: string }[] = []
    socket.on('message', (data) => messages.push(JSON.parse(String(data)) as { type: string }))
    await new Promise((resolve) => socket.once('open', resolve))
    const closed = new Promise<number>((resolve) => socket.once('close', resolve))
    await second.running.drain('deployment', AbortSignal.timeout(5_000))
    expect(await closed).toBe(1001)
    expect(messages.at(-1)).toMatchObject({ type: 'server_shutdown', reason: 'deployment' })
    for (const client of clients) client.close()
    for (const { host, running } of instances) {
      await running.close()
      await host.close()
    }
  })
})
