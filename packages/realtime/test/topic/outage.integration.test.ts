import { createTestHost, testUser } from '@quintet/core/testing'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { channel, channels, createPublisher, type Publisher } from '../../src/index.ts'
import { openTestSession, type TestSession } from '../support/session.ts'

describe('when Redis', () => {
  let server: PrivateRedis
  let redis: Redis
  let sender: Publisher
  let alice: TestSession
  let stop: () => Promise<void>
  const notices = channel('notices', { access: 'authenticated' })
  const a = { tenantId: 'tenant-a' }

  beforeEach(async () => {
    server = await startPrivateRedis()
    redis = new Redis(server.url, { retryStrategy: () => 30, maxRetriesPerRequest: 1 })
    redis.on('error', () => undefined)
    sender = createPublisher({ redis, channels: [notices] })
    const protocol = channels({ redis, channels: [notices] })
    const host = createTestHost({ tokens: { alice: testUser() } })
    await protocol.start?.(host)
    alice = openTestSession(protocol, host, 'alice')
    await alice.ask({ type: 'subscribe', channel: 'notices' })
    stop = async () => {
      await protocol.close?.()
      await host.close()
      redis.disconnect()
      await server.stop()
    }
  })
  afterEach(() => stop())

  it('cuts the connection on which events come in, what came meanwhile is fetched, in order', async () => {
    await sender.publish('notices', a, 1)
    await until(() => alice.events().length === 1)
    const subscriber = /id=(\d+) [^\n]*(?:sub=1)/.exec(String(await redis.client('LIST')))?.[1] ?? ''
    // Sent in one go: nobody can subscribe again between the cut and the events.
    const [killed] = await Promise.all([
      redis.client('KILL', 'ID', subscriber),
      ...[2, 3, 4].map((event) => sender.publish('notices', a, event)),
    ])
    expect(killed).toBe(1)
    await until(() => alice.events().length === 4)
    expect(alice.events()).toEqual([1, 2, 3, 4])
    expect(alice.messages.some((message) => message.type === 'lost')).toBe(false)
  })

  it('comes back empty, subscribers are told that events are lost, and go on', async () => {
    await sender.publish('notices', a, 1)
    await until(() => alice.events().length === 1)
    await server.restart()
    await until(() => alice.messages.some((message) => message.type === 'lost'))
    await sender.publish('notices', a, 2)
    await until(() => alice.events().length === 2)
  })

  it('is away, a subscription is refused as unavailable within a bounded time, and stands later', async () => {
    await server.kill()
    expect(await alice.ask({ type: 'unsubscribe', channel: 'notices' })).toMatchObject({
      type: 'unsubscribed',
    })
    alice.ask({ type: 'ping' }).catch(() => undefined)
    await expect(sender.publish('notices', a, 1)).rejects.toMatchObject({
      code: 'ERR_REALTIME_UNAVAILABLE',
      kind: 'unavailable',
      retryAfter: 1_000,
    })
    await server.restart()
    await until(
      async () => (await alice.ask({ type: 'subscribe', channel: 'notices' })).type === 'subscribed',
    )
    await sender.publish('notices', a, 2)
    await until(() => alice.events().length === 1)
  })
})
