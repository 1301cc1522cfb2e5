import { createTestHost, testUser } from '@quintet/core/testing'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { channel, channels, createPublisher, type FannedRedis, type Publisher } from '../../src/index.ts'
import { openTestSession, type TestSession } from '../support/session.ts'

describe('when Redis', () => {
  let server: PrivateRedis
  let redis: Redis
  let sender: Publisher
  let alice: TestSession
  let stop: () => Promise<void>
  const notices = channel('notices', { access: 'authenticated' })
  const room = channel('room', { access: 'authenticated', presence: true })
  let open: (token: string) => TestSession
  /** Every command of the channels fails meanwhile. */
  let failing = false
  let failures = 0
  const a = { tenantId: 'tenant-a' }

  beforeEach(async () => {
    server = await startPrivateRedis()
    redis = new Redis(server.url, { retryStrategy: () => 30, maxRetriesPerRequest: 1 })
    redis.on('error', () => undefined)
    sender = createPublisher({ redis, channels: [notices] })
    failing = false
    failures = 0
    const flaky: FannedRedis = {
      eval(...call) {
        if (!failing) return redis.eval(...call)
        failures += 1
        return Promise.reject(new Error("READONLY You can't write against a read only replica."))
      },
      duplicate: (overrides) => redis.duplicate(overrides),
    }
    const protocol = channels({ redis: flaky, channels: [notices, room] })
    const host = createTestHost({
      tokens: { alice: testUser(), anna: testUser({ userId: 'anna', sessionId: 's-anna' }) },
    })
    await protocol.start?.(host)
    open = (token) => openTestSession(protocol, host, token)
    alice = open('alice')
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

  /** The id of the connection on which events come in. */
  async function feedId(): Promise<string> {
    return /id=(\d+) [^\n]*(?:sub=[1-9])/.exec(String(await redis.client('LIST')))?.[1] ?? ''
  }

  it('cannot be read for a while on a quiet channel, what was missed comes when it can', async () => {
    const feed = await feedId()
    failing = true
    const [killed] = await Promise.all([redis.client('KILL', 'ID', feed), sender.publish('notices', a, 1)])
    expect(killed).toBe(1)
    await until(() => failures > 8 || alice.events().length > 0, 15_000)
    failing = false
    await until(() => alice.events().length === 1)
  })

  it('fails, a subscription with presence is refused as unavailable', async () => {
    await alice.ask({ type: 'subscribe', channel: 'room' })
    failing = true
    expect(await open('anna').ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
      type: 'error',
      error: { code: 'ERR_REALTIME_UNAVAILABLE', retryAfter: 1_000 },
    })
  })

  it('loses the connection on which presence comes in, who has left meanwhile is told', async () => {
    const anna = open('anna')
    await alice.ask({ type: 'subscribe', channel: 'room' })
    await anna.ask({ type: 'subscribe', channel: 'room' })
    const left = (): boolean =>
      alice.messages.some(
        (message) => message.type === 'presence' && message.event === 'leave' && message.user === 'anna',
      )
    const keys = await redis.keys('rt:p:*')
    const members = await redis.hgetall(keys[0] ?? '')
    const [member = ''] = Object.keys(members).filter((id) => members[id]?.endsWith('anna'))
    anna.close()
    await until(left)
    // As if the leave had not been heard: the member is back, and goes while the feed is cut.
    await redis.hset(keys[0] ?? '', member, `${Date.now() + 60_000} ghost`)
    expect(await alice.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
      present: ['ghost', 'user-1'],
    })
    const feed = await feedId()
    await Promise.all([redis.client('KILL', 'ID', feed), redis.hdel(keys[0] ?? '', member)])
    await until(() =>
      alice.messages.some(
        (message) => message.type === 'presence' && message.event === 'leave' && message.user === 'ghost',
      ),
    )
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
