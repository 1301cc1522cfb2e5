import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import {
  connect as connectTcp,
  createServer as createTcpServer,
  type AddressInfo,
  type Socket,
} from 'node:net'
import type { AuthManager } from '@quintet/core'
import { createTokenAuth, testUser } from '@quintet/core/testing'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createRealtimeClient, type RealtimeClient } from '../../src/client.ts'
import {
  channel,
  createHub,
  createPublisher,
  hubDefaults,
  type EventPosition,
  type Hub,
  type HubOptions,
} from '../../src/index.ts'

const rooms = channel('rooms/:room', { access: 'authenticated', presence: true, message: z.string() })
const news = channel('news', { access: 'public', scope: 'global' })

interface Running {
  readonly hub: Hub
  readonly server: Server
  readonly url: string
  stop(): Promise<void>
}

describe('createHub', () => {
  let redis: Redis
  const cleanups: (() => Promise<void> | void)[] = []
  const auth = createTokenAuth({
    alice: testUser({ userId: 'alice', sessionId: 's-alice' }),
    anna: testUser({ userId: 'anna', sessionId: 's-anna' }),
  })
  let prefix = ''

  beforeAll(() => {
    redis = new Redis(redisUrl())
  })
  afterAll(() => redis.disconnect())
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
    prefix = ''
  })

  async function start(options: Partial<HubOptions> = {}, port = 0): Promise<Running> {
    prefix ||= `test-hub-${randomUUID()}`
    const hub = createHub({ redis, channels: [rooms, news], prefix, auth, ...options })
    const server = createServer((_request, response) => response.writeHead(426).end())
    server.on('upgrade', (request, socket, head) => void hub.handleUpgrade(request, socket, head))
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> =>
      (stopped ??= (async () => {
        await hub.close()
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      })())
    cleanups.push(stop)
    return { hub, server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
  }

  function connect(url: string, token: string | (() => string)): RealtimeClient {
    const client = createRealtimeClient({ url, token, backoff: { min: 20, max: 100 } })
    cleanups.push(() => client.close())
    return client
  }

  /** Authenticates when the gate opens. */
  function slowAuth(gate: Promise<void>, onBegin: () => void = () => undefined): AuthManager {
    return {
      ...auth,
      async authenticate(...call) {
        onBegin()
        await gate
        return auth.authenticate(...call)
      },
    }
  }

  async function refusal(
    url: string,
    protocols: string[],
    options: ConstructorParameters<typeof WebSocket>[2] = {},
  ): Promise<number> {
    const socket = new WebSocket(url, protocols, options)
    return new Promise((resolve) => {
      socket.on('unexpected-response', (_request, response) => {
        resolve(response.statusCode ?? 0)
        socket.terminate()
      })
      socket.on('error', () => undefined)
      socket.on('open', () => {
        resolve(101)
        socket.terminate()
      })
    })
  }

  it('connects clients of two instances', async () => {
    const [first, second] = [await start(), await start()]
    const [alice, anna] = [connect(first.url, 'alice'), connect(second.url, 'anna')]
    const events: unknown[] = []
    const joined: string[] = []
    const room = alice.subscribe('rooms/1', {
      onEvent: (event) => events.push(event),
      onPresence: (event, user) => joined.push(`${event} ${user}`),
    })
    await room.ready
    let present: readonly string[] | undefined
    await anna.subscribe('rooms/1', {
      onEvent: () => undefined,
      onSubscribed: (info) => (present = info.present),
    }).ready
    await anna.publish('rooms/1', 'hello')
    await until(() => events.length === 1)
    expect(events).toEqual(['hello'])
    expect(present).toEqual(['alice', 'anna'])
    await until(() => joined.includes('join anna'))
    await expect(anna.publish('rooms/1', 7)).rejects.toMatchObject({ kind: 'invalid-input' })
    await expect(anna.subscribe('nothing', { onEvent: () => undefined }).ready).rejects.toMatchObject({
      code: 'ERR_REALTIME_UNKNOWN_CHANNEL',
    })
  })

  it('lets a client come back and go on where it was, without a loss and without a repetition', async () => {
    const first = await start()
    const port = (first.server.address() as AddressInfo).port
    const client = connect(first.url, 'alice')
    const events: unknown[] = []
    let lost = 0
    const recovered: (boolean | undefined)[] = []
    const room = client.subscribe('rooms/1', {
      onEvent: (event) => events.push(event),
      onLost: () => (lost += 1),
      onSubscribed: (info) => recovered.push(info.recovered),
    })
    await room.ready
    const publisher = createPublisher({ redis, prefix, channels: [rooms] })
    const publish = (event: number): Promise<unknown> =>
      publisher.publish('rooms/1', { tenantId: 'tenant-a' }, event)
    await publish(1)
    await until(() => events.length === 1)
    await first.stop()
    await publish(2)
    await publish(3)
    await start({}, port)
    await until(() => events.length === 3)
    await publish(4)
    await until(() => events.length === 4)
    expect(events).toEqual([1, 2, 3, 4])
    expect(recovered).toEqual([undefined, true])
    expect(lost).toBe(0)
    expect(room.position).toMatchObject({ offset: 4 })
    room.unsubscribe()
  })

  it('tells its clients before it stops, closes with 1001, and takes nobody new', async () => {
    const { hub, url } = await start()
    const socket = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'])
    const messages: { type: string }[] = []
    socket.on('message', (data) => messages.push(JSON.parse(String(data)) as { type: string }))
    await new Promise((resolve) => socket.once('open', resolve))
    const closed = new Promise<number>((resolve) => socket.once('close', resolve))
    await hub.drain('deployment', AbortSignal.timeout(5_000))
    expect(await closed).toBe(1001)
    expect(messages).toMatchObject([
      { type: 'server_shutdown', reason: 'deployment', reconnectAfterMs: expect.any(Number) },
    ])
    expect(hub.connections).toBe(0)
    expect(await refusal(url, ['quintet.realtime.v1', 'bearer.alice'])).toBe(503)
  })

  it('closes with 4401 when the session ends, and the client stays away until it has another token', async () => {
    const { url } = await start()
    auth.grant('short', testUser({ userId: 'short', sessionId: 's-short' }))
    const fixed = connect(url, 'short')
    let token = 'short'
    const renewing = connect(url, () => token)
    await until(() => fixed.status === 'open' && renewing.status === 'open')
    auth.grant('long', testUser({ userId: 'short', sessionId: 's-long' }))
    token = 'long'
    auth.end('short', 'revoked')
    await until(() => fixed.status === 'closed' && renewing.status === 'open')
    await expect(fixed.publish('rooms/1', 'x')).rejects.toMatchObject({ code: 'ERR_REALTIME_CLOSED' })
  })

  it('goes on with a renewed token of the same session, and of no other', async () => {
    const { url } = await start()
    auth.grant('old', testUser({ userId: 'cleo', sessionId: 's-cleo' }))
    const client = connect(url, 'old')
    await until(() => client.status === 'open')
    auth.grant('new', testUser({ userId: 'cleo', sessionId: 's-cleo' }))
    await client.renew('new')
    await client.subscribe('rooms/1', { onEvent: () => undefined }).ready
    await expect(client.renew('alice')).rejects.toMatchObject({ code: 'ERR_REALTIME_FORBIDDEN' })
    await expect(client.renew('forged')).rejects.toMatchObject({ kind: 'unauthenticated' })
    expect(client.status).toBe('open')
  })

  it('keeps a connection whose client renews its token in time', async () => {
    const { hub, url } = await start()
    let count = 0
    const statuses: string[] = []
    const client = createRealtimeClient({
      url,
      token: () => {
        const token = `renewed-${++count}`
        const expiresAt = Date.now() + 1_000
        auth.grant(token, testUser({ userId: 'dora', sessionId: 's-dora', expiresAt }))
        return token
      },
      onStatus: (status) => statuses.push(status),
    })
    cleanups.push(() => client.close())
    await client.subscribe('rooms/1', { onEvent: () => undefined }).ready
    await until(() => count >= 4)
    expect(statuses).toEqual(['open'])
    expect(hub.connections).toBe(1)
  })

  it('leaves a client time to renew a token that was replaced, and closes when it does not', async () => {
    const { url } = await start()
    auth.grant('replaced', testUser({ sessionId: 's-replaced' }))
    const client = connect(url, 'replaced')
    await until(() => client.status === 'open')
    auth.end('replaced', 'superseded')
    auth.grant('replacing', testUser({ sessionId: 's-replaced' }))
    await client.renew('replacing')
    await client.subscribe('rooms/1', { onEvent: () => undefined }).ready
    expect(client.status).toBe('open')
  })

  it('is found again by a client whose network has died without a word', async () => {
    const { url } = await start()
    const { port } = new URL(url)
    let dead = false
    const proxy = createTcpServer((socket) => {
      const upstream = connectTcp(Number(port), '127.0.0.1')
      for (const [from, to] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        from.on('error', () => undefined)
        from.on('close', () => to.destroy())
        // Packets of a connection from before the death go nowhere from then on.
        const alive = !dead
        from.on('data', (chunk) => void (!(alive && dead) && to.write(chunk)))
      }
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => void proxy.close())
    const statuses: string[] = []
    const client = createRealtimeClient({
      url: `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      token: 'alice',
      pingInterval: 100,
      timeout: 2_000,
      backoff: { min: 20, max: 100 },
      onStatus: (status) => statuses.push(status),
    })
    cleanups.push(() => client.close())
    const events: unknown[] = []
    const lost: unknown[] = []
    await client.subscribe('rooms/1', {
      onEvent: (event) => events.push(event),
      onLost: (position) => lost.push(position),
    }).ready
    dead = true
    await createPublisher({ redis, prefix, channels: [rooms] }).publish(
      'rooms/1',
      { tenantId: 'tenant-a' },
      'while it was dead',
    )
    await until(() => events.length === 1)
    expect(events).toEqual(['while it was dead'])
    expect(statuses).toEqual(['open', 'waiting', 'connecting', 'open'])
    expect(lost).toEqual([])
  })

  it('ends a connection when its token runs out', async () => {
    const { url } = await start()
    auth.grant('brief', testUser({ sessionId: 's-brief', expiresAt: Date.now() + 200 }))
    const socket = new WebSocket(url, ['quintet.realtime.v1', 'bearer.brief'])
    expect(await new Promise((resolve) => socket.once('close', resolve))).toBe(4401)
  })

  it('asks its own access rule, and hands its services to handlers', async () => {
    const echo = channel('echo', {
      access: 'authenticated',
      message: z.string(),
      onMessage: ({ data, services }) => `${(services as { greeting: string }).greeting} ${data}`,
    })
    auth.grant('editor', testUser({ sessionId: 's-editor', roles: ['editor'] }))
    const { url } = await start({
      access: { roles: ['editor'] },
      services: { greeting: 'hello' },
      channels: [echo],
    })
    expect(await refusal(url, ['quintet.realtime.v1', 'bearer.alice'])).toBe(403)
    const client = connect(url, 'editor')
    await until(() => client.status === 'open')
    expect(await client.publish('echo', 'you')).toBe('hello you')
  })

  it('refuses in plain HTTP whoever may not connect', async () => {
    const { url } = await start({ origins: ['https://app.example'], maxConnections: 1 })
    const protocol = 'quintet.realtime.v1'
    expect(await refusal(url, [protocol])).toBe(401)
    expect(await refusal(url, [protocol, 'bearer.forged'])).toBe(401)
    expect(await refusal(url, ['other.v1', 'bearer.alice'])).toBe(400)
    expect(await refusal(url, [protocol, 'bearer.alice', 'bearer.anna'])).toBe(400)
    expect(
      await refusal(url, [protocol, 'bearer.alice'], { headers: { authorization: 'Bearer alice' } }),
    ).toBe(400)
    expect(await refusal(url, [protocol, 'bearer.alice'], { origin: 'https://evil.example' })).toBe(403)
    expect(await refusal(url, [protocol, 'bearer.alice'], { origin: 'https://app.example' })).toBe(101)
    const client = connect(url, 'alice')
    await until(() => client.status === 'open')
    expect(await refusal(url, [protocol, 'bearer.anna'])).toBe(503)
  })

  it('lets the public in where there is no auth, and only to what is public', async () => {
    const { url } = await start({ auth: undefined } as never)
    const client = createRealtimeClient({ url })
    cleanups.push(() => client.close())
    await client.subscribe('news', { onEvent: () => undefined }).ready
    await expect(client.subscribe('rooms/1', { onEvent: () => undefined }).ready).rejects.toMatchObject({
      kind: 'unauthenticated',
    })
  })

  it('cuts a connection that does not answer, and one that sends too much', async () => {
    const { hub, url } = await start({ keepAlive: 50, maxPayload: '1kb' })
    const dead = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'], { autoPong: false })
    dead.on('error', () => undefined)
    await until(() => hub.connections === 1)
    await new Promise((resolve) => dead.once('close', resolve))
    const loud = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'])
    await new Promise((resolve) => loud.once('open', resolve))
    loud.send('x'.repeat(2_000))
    expect(await new Promise((resolve) => loud.once('close', resolve))).toBe(1009)
  })

  it('disconnects a client that does not read, at the limit, with bounded memory', async () => {
    const { hub, url } = await start({ slowConsumer: { limit: '64kb' } })
    const slow = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'])
    slow.on('error', () => undefined)
    await new Promise((resolve) => slow.once('open', resolve))
    slow.send(JSON.stringify({ id: 1, type: 'subscribe', channel: 'rooms/1' }))
    await new Promise((resolve) => slow.once('message', resolve))
    slow.pause()
    const publisher = createPublisher({ redis, prefix, channels: [rooms] })
    const event = 'x'.repeat(100_000)
    for (let index = 0; index < 400 && hub.connections > 0; index++)
      await publisher.publish('rooms/1', { tenantId: 'tenant-a' }, event)
    await until(() => hub.connections === 0)
    slow.terminate()
  })

  it('reads no more of a client that does not read, and loses nothing of what it has read', async () => {
    const running = await start({ slowConsumer: { limit: '64kb' }, maxPayload: '1kb' })
    const upgraded = once(running.server, 'upgrade') as Promise<[unknown, Socket]>
    const client = new WebSocket(running.url, ['quintet.realtime.v1', 'bearer.alice'])
    const [, socket] = await upgraded
    await once(client, 'open')
    client.pause()
    let count = 0
    // The buffers of the kernel hold megabytes.
    await until(() => {
      for (let index = 0; index < 5_000; index++) client.send('x')
      count += 5_000
      return socket.isPaused()
    }, 60_000)
    expect(socket.writableLength).toBeLessThan(8_000_000)
    let answers = 0
    client.on('message', () => (answers += 1))
    client.resume()
    await until(() => answers === count, 60_000)
    client.terminate()
  }, 150_000)

  it('brings back a client that has missed events larger than what may wait for it', async () => {
    const big = channel('big/:room', { access: 'authenticated', maxEventSize: '5mb' })
    const { url } = await start({ channels: [big], slowConsumer: { limit: '64kb' }, maxReplaySize: '20mb' })
    const publisher = createPublisher({ redis, prefix, channels: [big] })
    const publish = (event: unknown): Promise<EventPosition> =>
      publisher.publish('big/1', { tenantId: 'tenant-a' }, event)
    const since = await publish('first')
    for (let index = 0; index < 4; index++) await publish(`${index}`.repeat(4_000_000))
    const statuses: string[] = []
    const client = createRealtimeClient({ url, token: 'alice', onStatus: (status) => statuses.push(status) })
    cleanups.push(() => client.close())
    const events: unknown[] = []
    client.subscribe('big/1', { since, onEvent: (event) => events.push(String(event)[0]) })
    await until(() => events.length === 4, 30_000)
    expect(events).toEqual(['0', '1', '2', '3'])
    expect(statuses).toEqual(['open'])
  }, 60_000)

  it('tells a client that reads again that it was too slow, with 4008', async () => {
    const { url } = await start({ slowConsumer: { limit: '64kb' } })
    const slow = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'])
    await once(slow, 'open')
    slow.send(JSON.stringify({ id: 1, type: 'subscribe', channel: 'rooms/1' }))
    await once(slow, 'message')
    slow.pause()
    const publisher = createPublisher({ redis, prefix, channels: [rooms] })
    const target = { tenantId: 'tenant-a' }
    const feed = `${prefix}:f:{t.tenant-a:rooms/1}`
    const subscribers = async (): Promise<number> => Number((await redis.pubsub('NUMSUB', feed))[1])
    for (let index = 0; index < 400 && (await subscribers()) > 0; index++)
      await publisher.publish('rooms/1', target, 'x'.repeat(100_000))
    const closed = once(slow, 'close')
    slow.resume()
    expect((await closed)[0]).toBe(4008)
  })

  it('takes no more connections than it may, however many handshakes are in progress', async () => {
    const gate = Promise.withResolvers<void>()
    const { hub, url } = await start({ maxConnections: 2, auth: slowAuth(gate.promise) })
    const statuses = Array.from({ length: 6 }, () => refusal(url, ['quintet.realtime.v1', 'bearer.alice']))
    const early = await Promise.race(statuses)
    expect(early).toBe(503)
    gate.resolve()
    expect((await Promise.all(statuses)).toSorted()).toEqual([101, 101, 503, 503, 503, 503])
    expect(hub.connections).toBeLessThanOrEqual(2)
  })

  it('drains and closes handshakes in progress too', async () => {
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { hub, url } = await start({ auth: slowAuth(gate.promise, begun.resolve) })
    const status = refusal(url, ['quintet.realtime.v1', 'bearer.alice'])
    await begun.promise
    const drained = hub.drain('deployment', AbortSignal.timeout(5_000))
    gate.resolve()
    await drained
    expect(await status).toBe(503)
    expect(hub.connections).toBe(0)
  })

  it('drains past a client that goes on sending', async () => {
    const busy = channel('busy', {
      access: 'authenticated',
      message: z.string(),
      onMessage: () => new Promise((resolve) => setTimeout(resolve, 30)),
    })
    const { hub, url } = await start({ channels: [busy] })
    const socket = new WebSocket(url, ['quintet.realtime.v1', 'bearer.alice'])
    await once(socket, 'open')
    const closed = once(socket, 'close')
    const send = (): void =>
      socket.send(JSON.stringify({ id: 1, type: 'publish', channel: 'busy', data: 'x' }))
    const sending = setInterval(send, 5)
    cleanups.push(() => clearInterval(sending))
    await once(socket, 'message')
    await hub.drain('deployment', AbortSignal.timeout(9_000))
    expect((await closed)[0]).toBe(1001)
  })

  it('resolves every drain, each by its own signal at the latest', async () => {
    const gate = Promise.withResolvers<void>()
    const waiting = channel('waiting', {
      access: 'authenticated',
      message: z.string(),
      onMessage: () => gate.promise,
    })
    const { hub, url } = await start({ channels: [waiting] })
    const client = connect(url, 'alice')
    await until(() => client.status === 'open')
    const answer = client.publish('waiting', 'x')
    await client.publish('nothing').catch(() => undefined)
    const first = hub.drain('deployment', AbortSignal.timeout(60_000))
    const second = hub.drain('deployment', new AbortController().signal)
    await hub.drain('deployment', AbortSignal.abort())
    gate.resolve()
    await Promise.all([answer, first, second])
    expect(hub.connections).toBe(0)
  })

  it('leaves no connection to Redis and no subscription when it is closed', async () => {
    const server = await startPrivateRedis()
    const client = new Redis(server.url)
    cleanups.push(async () => {
      client.disconnect()
      await server.stop()
    })
    const connections = async (): Promise<number> =>
      String(await client.client('LIST'))
        .trim()
        .split('\n').length
    const before = await connections()
    const { url, stop } = await start({ redis: client })
    await connect(url, 'alice').subscribe('rooms/1', { onEvent: () => undefined }).ready
    expect(await connections()).toBe(before + 1)
    await stop()
    await until(async () => (await connections()) === before)
    expect(await client.pubsub('CHANNELS')).toEqual([])
    expect(await client.keys('*:p:*')).toEqual([])
  })

  it('closes within a bounded time while Redis does not answer', async () => {
    const frozen = await startPrivateRedis()
    const client = new Redis(frozen.url)
    client.on('error', () => undefined)
    const { url, stop } = await start({ redis: client })
    cleanups.push(async () => {
      frozen.thaw()
      client.disconnect()
      await frozen.stop()
    })
    await connect(url, 'alice').subscribe('rooms/1', { onEvent: () => undefined }).ready
    frozen.freeze()
    await stop()
  })

  it('keeps two applications of one Redis apart by the keyPrefix of their clients', async () => {
    const [one, two] = ['app1:', 'app2:'].map((keyPrefix) => new Redis(redisUrl(), { keyPrefix })) as [
      Redis,
      Redis,
    ]
    cleanups.push(() => [one, two].forEach((client) => client.disconnect()))
    const first = await start({ redis: one })
    const second = await start({ redis: two })
    const [alice, anna] = [connect(first.url, 'alice'), connect(second.url, 'anna')]
    const told: string[] = []
    const events: unknown[] = []
    await alice.subscribe('rooms/1', {
      onEvent: (event) => events.push(event),
      onPresence: (event, user) => told.push(`${event} ${user}`),
    }).ready
    await anna.subscribe('rooms/1', { onEvent: () => undefined }).ready
    const target = { tenantId: 'tenant-a' }
    await createPublisher({ redis: two, prefix, channels: [rooms] }).publish('rooms/1', target, 'theirs')
    await createPublisher({ redis: one, prefix, channels: [rooms] }).publish('rooms/1', target, 'ours')
    await until(() => events.length > 0)
    expect(events).toEqual(['ours'])
    expect(told).not.toContain('join anna')
  })

  it('brings events again after its feed was cut, also where the client of the application never reconnects', async () => {
    const server = await startPrivateRedis()
    const client = new Redis(server.url, { retryStrategy: null as never })
    client.on('error', () => undefined)
    cleanups.push(async () => {
      client.disconnect()
      await server.stop()
    })
    const { url } = await start({ redis: client })
    const events: unknown[] = []
    await connect(url, 'alice').subscribe('rooms/1', { onEvent: (event) => events.push(event) }).ready
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    const publisher = createPublisher({ redis: client, prefix, channels: [rooms] })
    await publisher.publish('rooms/1', { tenantId: 'tenant-a' }, 'after the cut')
    await until(() => events.length === 1)
  })

  it('names what is wrong with its options', () => {
    const base = { redis, channels: [news] }
    expect(() => createHub({ ...base, orgins: [] } as unknown as HubOptions)).toThrow(
      'Did you mean "origins"?',
    )
    expect(() => createHub({ ...base, maxPayload: 'x' } as unknown as HubOptions)).toThrow('hub.maxPayload')
    expect(() => createHub({ ...base, keepAlive: 'x' } as unknown as HubOptions)).toThrow('hub.keepAlive')
    expect(hubDefaults.maxPayload).toBe('1mb')
  })
})
