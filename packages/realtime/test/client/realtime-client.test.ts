import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  createRealtimeClient,
  type ClientSubscription,
  type RealtimeClient,
  type RealtimeClientOptions,
  type StatusReason,
  type SubscribeOptions,
} from '../../src/client.ts'
import { FakeSocket } from '../support/fake-socket.ts'

const event = (offset: number, data: unknown = offset) =>
  ({ type: 'event', channel: 'news', epoch: 'e', offset, tag: `t${offset}`, data }) as const
const refusal = (kind: string, more: object = {}) => ({ code: `ERR_${kind}`, kind, message: kind, ...more })

describe('createRealtimeClient', () => {
  let client: RealtimeClient
  let statuses: [string, StatusReason | undefined][]

  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
    FakeSocket.sockets = []
    statuses = []
  })
  afterEach(() => {
    client?.close()
    const timers = vi.getTimerCount()
    vi.useRealTimers()
    vi.restoreAllMocks()
    if (timers > 0) throw new Error(`${timers} timer(s) are left after close()`)
  })

  function start(options: Partial<RealtimeClientOptions> = {}): RealtimeClient {
    client = createRealtimeClient({
      url: 'ws://127.0.0.1:1',
      WebSocket: FakeSocket as never,
      backoff: { min: 100, max: 1_000 },
      onStatus: (status, reason) => statuses.push([status, reason]),
      ...options,
    })
    return client
  }
  const tick = (milliseconds = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds)
  async function open(options: Partial<RealtimeClientOptions> = {}): Promise<FakeSocket> {
    start(options)
    await tick()
    FakeSocket.last.open()
    return FakeSocket.last
  }

  describe('with a callback that throws', () => {
    const uncaught: unknown[] = []
    const keep = (error: unknown): void => void uncaught.push(error)
    beforeEach(() => {
      uncaught.length = 0
      for (const each of process.listeners('uncaughtException')) silenced.push(each)
      process.removeAllListeners('uncaughtException')
      process.on('uncaughtException', keep)
    })
    afterEach(() => {
      process.off('uncaughtException', keep)
      for (const each of silenced.splice(0)) process.on('uncaughtException', each)
    })
    const silenced: NodeJS.UncaughtExceptionListener[] = []
    const fail = (): never => {
      throw new Error('a callback throws')
    }

    it('goes on asking for subscriptions, and reports each error', async () => {
      const socket = await open()
      for (let index = 0; index < 16; index++)
        client.subscribe(`bad/${index}`, { onEvent: fail, onSubscribed: fail, onLost: fail })
      for (let index = 0; index < 16; index++) socket.subscribed(`bad/${index}`, 0, { recovered: false })
      await tick()
      client.subscribe('good', { onEvent: fail })
      expect(socket.asked('subscribe').some(({ channel }) => channel === 'good')).toBe(true)
      await vi.waitFor(() => expect(uncaught).toHaveLength(32))
    })

    it('takes the next event, and ends', async () => {
      const socket = await open()
      const subscription = client.subscribe('news', { onEvent: fail, onEnded: fail })
      socket.subscribed('news')
      socket.receive(event(1))
      socket.receive(event(2))
      expect(subscription.position?.offset).toBe(2)
      client.close()
      expect(client.status).toBe('closed')
      await tick()
    })

    it('connects, subscribes and comes back', async () => {
      const socket = await open({ onStatus: fail })
      client.subscribe('news', { onEvent: fail })
      expect(socket.asked('subscribe')).toHaveLength(1)
      socket.end(1006)
      await tick(100)
      expect(FakeSocket.sockets).toHaveLength(2)
      FakeSocket.last.open()
      expect(FakeSocket.last.asked('subscribe')).toHaveLength(1)
      client.close()
      await tick()
    })
  })

  it('tries again what failed inside the server when it has stood before, and only then', async () => {
    const socket = await open()
    const ended: unknown[] = []
    client.subscribe('news', { onEvent: () => undefined, onEnded: (error) => ended.push(error) })
    const never = client.subscribe('never', { onEvent: () => undefined })
    const refuse = (channel: string): void => {
      const id = socket.asked('subscribe').findLast((each) => each.channel === channel)?.id ?? 0
      socket.receive({ id, type: 'error', error: refusal('internal') })
    }
    socket.subscribed('news')
    refuse('never')
    await expect(never.ready).rejects.toMatchObject({ kind: 'internal' })
    socket.receive({ type: 'lost', channel: 'news', epoch: 'e', offset: 3, tag: 't3' })
    await tick(100)
    refuse('news')
    await tick(1_000)
    socket.subscribed('news')
    socket.receive(event(4))
    expect(ended).toEqual([])
  })

  describe('when it is closed', () => {
    it('ends each subscription once, also one that is made anew when it ends', async () => {
      await open()
      let ended = 0
      const subscribe = (): void => {
        const onEnded = (): void => {
          ended += 1
          subscribe()
        }
        last = client.subscribe('news', { onEvent: () => undefined, onEnded })
      }
      let last: ClientSubscription | undefined
      subscribe()
      client.close()
      expect(ended).toBe(1)
      await expect(last?.ready).rejects.toMatchObject({ code: 'ERR_REALTIME_CLOSED' })
    })
  })

  describe('on a dead network', () => {
    it('asks a quiet connection, gives it up without a close handshake, and connects again', async () => {
      const socket = await open()
      await tick(15_000)
      expect(socket.asked('ping')).toHaveLength(1)
      await tick(9_999)
      expect(client.status).toBe('open')
      await tick(1)
      expect(client.status).toBe('waiting')
      expect(statuses.at(-1)?.[1]).toMatchObject({ code: 1006, reason: 'no answer' })
      await tick(100)
      expect(FakeSocket.sockets).toHaveLength(2)
      // What the old connection still says is not heard.
      socket.end(1006)
      FakeSocket.last.open()
      expect(client.status).toBe('open')
    })

    it('takes any message as a sign of life', async () => {
      const socket = await open()
      for (let round = 0; round < 5; round++) {
        await tick(14_000)
        socket.receive({ type: 'presence', channel: 'x', event: 'join', user: 'u' })
      }
      expect(socket.asked('ping')).toEqual([])
      await tick(15_000)
      socket.receive({ id: socket.asked('ping')[0]?.id ?? 0, type: 'pong' })
      await tick(14_999)
      expect(client.status).toBe('open')
    })

    it('never asks with pingInterval 0', async () => {
      const socket = await open({ pingInterval: 0 })
      await tick(1_000_000)
      expect(socket.sent).toEqual([])
      expect(client.status).toBe('open')
    })

    it('rejects what waits for an answer at once when the connection is given up', async () => {
      await open({ timeout: 60_000 })
      const answer = client.publish('news', 1)
      answer.catch(() => undefined)
      await tick(15_000 + 60_000)
      await expect(answer).rejects.toMatchObject({ code: expect.stringMatching(/CLOSED|TIMEOUT/) })
      expect(client.status).not.toBe('open')
    })

    it('gives up a handshake that is not answered, and a token that does not come', async () => {
      start({ timeout: 1_000 })
      await tick(1_000)
      expect(statuses.at(-1)?.[1]).toMatchObject({ code: 1006, reason: 'timeout', failures: 1 })
      client.close()
      FakeSocket.sockets = []
      start({ timeout: 1_000, token: () => new Promise(() => undefined) })
      await tick(1_000)
      expect(client.status).toBe('waiting')
      expect(FakeSocket.sockets).toEqual([])
    })
  })

  describe('the retry', () => {
    it('waits twice as long each time, up to the most, with the reason at each', async () => {
      start()
      for (const pause of [100, 200, 400, 800, 1_000, 1_000]) {
        const count = FakeSocket.sockets.length
        FakeSocket.last.end(1006)
        await tick(pause - 1)
        expect(FakeSocket.sockets).toHaveLength(count)
        await tick(1)
        expect(FakeSocket.sockets).toHaveLength(count + 1)
      }
      expect(
        statuses.filter(([status]) => status === 'waiting').map(([, reason]) => reason?.failures),
      ).toEqual([1, 2, 3, 4, 5, 6])
    })

    it('goes on to wait longer for a server that takes connections and drops them', async () => {
      const socket = await open()
      socket.end(1011)
      await tick(100)
      FakeSocket.last.open()
      FakeSocket.last.end(1011)
      await tick(199)
      expect(FakeSocket.sockets).toHaveLength(2)
      await tick(1)
      // One that lived for a while begins anew.
      FakeSocket.last.open()
      await tick(6_000)
      FakeSocket.last.end(1006)
      await tick(100)
      expect(FakeSocket.sockets).toHaveLength(4)
    })

    it.each([1000, 1001, 1006, 1007, 1011, 1012, 4008])('comes back after close code %d', async (code) => {
      const socket = await open()
      socket.end(code)
      await tick(100)
      expect(FakeSocket.sockets).toHaveLength(2)
    })

    it('waits as long as a server that stops has asked for, once', async () => {
      const socket = await open()
      socket.receive({ type: 'server_shutdown', reason: 'deployment', reconnectAfterMs: 4_000 })
      socket.end(1001)
      await tick(3_999)
      expect(FakeSocket.sockets).toHaveLength(1)
      await tick(1)
      FakeSocket.last.end(1006)
      await tick(200)
      expect(FakeSocket.sockets).toHaveLength(3)
    })

    it.each([undefined, 'x', -5])('does not trust %s as a pause', async (reconnectAfterMs) => {
      const socket = await open()
      socket.receive({ type: 'server_shutdown', reason: 'deployment', reconnectAfterMs } as never)
      socket.end(1001)
      await tick(99)
      expect(FakeSocket.sockets).toHaveLength(1)
      await tick(1)
      expect(FakeSocket.sockets).toHaveLength(2)
    })

    it('gives up a connection whose messages cannot be read', async () => {
      const socket = await open()
      socket.receive('{')
      expect(statuses.at(-1)).toMatchObject(['waiting', { code: 1007 }])
    })

    it('asks for the token before each connection, and outlives a source that throws', async () => {
      let asked = 0
      start({
        token: () => {
          if (++asked === 1) throw new Error('not now')
          return `token-${asked}`
        },
      })
      await tick()
      expect(statuses.at(-1)?.[1]).toMatchObject({ reason: 'Error: not now' })
      await tick(100)
      expect(FakeSocket.last.protocols).toEqual(['quintet.realtime.v1', 'bearer.token-2'])
    })
  })

  describe('when the session has ended', () => {
    it('is closed for good with a fixed token', async () => {
      const socket = await open({ token: 'fixed' })
      const ended: string[] = []
      const room = client.subscribe('news', {
        onEvent: () => undefined,
        onEnded: ({ code }) => ended.push(code),
      })
      socket.end(4401, 'revoked')
      await tick(100_000)
      expect(statuses.at(-1)).toMatchObject(['closed', { code: 4401, reason: 'revoked' }])
      expect(FakeSocket.sockets).toHaveLength(1)
      await expect(room.ready).rejects.toMatchObject({ code: 'ERR_REALTIME_CLOSED' })
      expect(ended).toEqual(['ERR_REALTIME_CLOSED'])
      await expect(client.publish('news', 1)).rejects.toMatchObject({ code: 'ERR_REALTIME_CLOSED' })
    })

    it('stays away until the source brings another token, and goes on where it was', async () => {
      let token: string | undefined = 'old'
      const socket = await open({ token: () => token })
      client.subscribe('news', { onEvent: () => undefined })
      socket.subscribed('news', 7)
      socket.end(4401, 'expired')
      await tick(20_000)
      expect(FakeSocket.sockets).toHaveLength(1)
      expect(client.status).toBe('waiting')
      token = 'new'
      await tick(1_000)
      expect(FakeSocket.last.protocols).toContain('bearer.new')
      FakeSocket.last.open()
      expect(FakeSocket.last.asked('subscribe')).toMatchObject([
        { since: { epoch: 'e', offset: 7, tag: 't7' } },
      ])
    })

    it('is closed when the source has no token any more', async () => {
      let token: string | undefined = 'old'
      const socket = await open({ token: () => token })
      token = undefined
      socket.end(4401, 'revoked')
      await tick(1_000)
      expect(client.status).toBe('closed')
    })
  })

  describe('the token', () => {
    it('is renewed on the standing connection before it expires, again and again', async () => {
      let count = 1
      const socket = await open({ token: () => `token-${count}`, pingInterval: 0 })
      for (const round of [2, 3, 4]) {
        socket.receive({ type: 'expires', expiresInMs: 100_000 })
        count = round
        await tick(79_999)
        expect(socket.asked('renew')).toHaveLength(round - 2)
        await tick(1)
        const renewal = socket.asked('renew')[round - 2]
        expect(renewal).toMatchObject({ token: `token-${round}` })
        socket.receive({ id: renewal?.id ?? 0, type: 'renewed' })
        await tick()
      }
      expect(FakeSocket.sockets).toHaveLength(1)
    })

    it('is asked for again while the source has no new one', async () => {
      let token = 'old'
      const socket = await open({ token: () => token, pingInterval: 0 })
      socket.receive({ type: 'expires', expiresInMs: 10_000 })
      await tick(8_000)
      expect(socket.asked('renew')).toEqual([])
      token = 'new'
      await tick(1_900)
      expect(socket.asked('renew')).toMatchObject([{ token: 'new' }])
    })

    it('is renewed when a client that was frozen is told that its subscription has ended', async () => {
      let token = 'old'
      const socket = await open({ token: () => token })
      const events: unknown[] = []
      const ended: unknown[] = []
      client.subscribe('news', {
        onEvent: (data) => events.push(data),
        onEnded: (error) => ended.push(error),
      })
      socket.subscribed('news', 3)
      token = 'new'
      socket.receive({ type: 'ended', channel: 'news', error: refusal('unauthenticated') })
      await tick()
      const [renewal] = socket.asked('renew')
      expect(renewal).toMatchObject({ token: 'new' })
      socket.receive({ id: renewal?.id ?? 0, type: 'renewed' })
      await tick(100)
      expect(socket.asked('subscribe').at(-1)).toMatchObject({ since: { offset: 3 } })
      socket.subscribed('news', 3, { recovered: true })
      socket.receive(event(4))
      expect([events, ended]).toEqual([[4], []])
    })

    it('is brought by a new connection when the standing one does not take it', async () => {
      let token = 'old'
      const socket = await open({ token: () => token })
      client.subscribe('news', { onEvent: () => undefined })
      token = 'new'
      const [request] = socket.asked('subscribe')
      socket.receive({ id: request?.id ?? 0, type: 'error', error: refusal('unauthenticated') })
      await tick()
      socket.receive({ id: socket.asked('renew')[0]?.id ?? 0, type: 'error', error: refusal('forbidden') })
      await tick(100)
      expect(FakeSocket.last.protocols).toContain('bearer.new')
      FakeSocket.last.open()
      expect(FakeSocket.last.asked('subscribe')).toHaveLength(1)
    })

    it('ends a subscription when it is refused again and again', async () => {
      const socket = await open({ token: () => 'same' })
      const { ready } = client.subscribe('news', { onEvent: () => undefined })
      for (let round = 0; round < 4; round++) {
        const request = socket.asked('subscribe')[round]
        socket.receive({ id: request?.id ?? 0, type: 'error', error: refusal('unauthenticated') })
        await tick(1_000)
      }
      await expect(ready).rejects.toMatchObject({ kind: 'unauthenticated' })
      expect(socket.asked('subscribe')).toHaveLength(4)
    })
  })

  describe('a subscription', () => {
    const listen = () => ({
      onEvent: vi.fn<SubscribeOptions<unknown>['onEvent']>(),
      onLost: vi.fn<NonNullable<SubscribeOptions<unknown>['onLost']>>(),
      onEnded: vi.fn<NonNullable<SubscribeOptions<unknown>['onEnded']>>(),
      onSubscribed: vi.fn<NonNullable<SubscribeOptions<unknown>['onSubscribed']>>(),
    })

    it.each(['unavailable', 'timeout', 'rate-limited'])(
      'that is refused as %s is tried again with growing pauses, also without retryAfter',
      async (kind) => {
        const socket = await open()
        const { ready } = client.subscribe('news', listen())
        for (const [round, pause] of [100, 200, 400].entries()) {
          const request = socket.asked('subscribe')[round]
          socket.receive({ id: request?.id ?? 0, type: 'error', error: refusal(kind) })
          await tick(pause - 1)
          expect(socket.asked('subscribe')).toHaveLength(round + 1)
          await tick(1)
          expect(socket.asked('subscribe')).toHaveLength(round + 2)
        }
        socket.subscribed('news')
        await ready
      },
    )

    it('waits at least as long as the server says', async () => {
      const socket = await open()
      client.subscribe('news', listen())
      const error = refusal('unavailable', { retryAfter: 5_000 })
      socket.receive({ id: socket.asked('subscribe')[0]?.id ?? 0, type: 'error', error })
      await tick(4_999)
      expect(socket.asked('subscribe')).toHaveLength(1)
      await tick(1)
      expect(socket.asked('subscribe')).toHaveLength(2)
    })

    it('that was removed meanwhile does not come back', async () => {
      const socket = await open()
      const room = client.subscribe('news', listen())
      const error = refusal('unavailable')
      socket.receive({ id: socket.asked('subscribe')[0]?.id ?? 0, type: 'error', error })
      await tick()
      room.unsubscribe()
      await tick(10_000)
      expect(socket.asked('subscribe')).toHaveLength(1)
    })

    it('that the server has ended does not come back', async () => {
      const socket = await open()
      const { onEnded, ...rest } = listen()
      client.subscribe('news', { onEnded, ...rest })
      socket.subscribed('news')
      socket.receive({ type: 'ended', channel: 'news', error: refusal('forbidden') })
      expect(onEnded).toHaveBeenCalledOnce()
      socket.end(1006)
      await tick(100)
      FakeSocket.last.open()
      expect(FakeSocket.last.asked('subscribe')).toEqual([])
    })

    it.each(['forbidden', 'not-found', 'conflict'])('that is refused as %s is rejected', async (kind) => {
      const socket = await open()
      const { ready } = client.subscribe('news', listen())
      socket.receive({ id: socket.asked('subscribe')[0]?.id ?? 0, type: 'error', error: refusal(kind) })
      await expect(ready).rejects.toMatchObject({ kind })
    })

    it('stands although the first answer came too late', async () => {
      const socket = await open({ timeout: 1_000, pingInterval: 0 })
      const { ready } = client.subscribe('news', listen())
      await tick(1_000)
      socket.subscribed('news', 1)
      await tick(100)
      expect(socket.asked('subscribe')).toHaveLength(2)
      socket.subscribed('news', 2)
      await ready
    })

    it('is answered by request, so that one made anew is not mixed up with the one before', async () => {
      const socket = await open()
      const [before, after] = [listen(), listen()]
      client.subscribe('news', before).unsubscribe()
      client.subscribe('news', after)
      const [old, current] = socket.asked('subscribe')
      const answer = { type: 'subscribed', channel: 'news', epoch: 'e', tag: 't' } as const
      socket.receive({ ...answer, id: old?.id ?? 0, offset: 1 })
      socket.receive(event(2))
      expect(after.onSubscribed).not.toHaveBeenCalled()
      socket.receive({ ...answer, id: current?.id ?? 0, offset: 2 })
      socket.receive(event(3))
      expect(before.onEvent).not.toHaveBeenCalled()
      expect(after.onEvent.mock.calls.map(([data]) => data)).toEqual([3])
    })

    it('is told of a loss once, although events come before it is set up again', async () => {
      const socket = await open()
      const news = listen()
      client.subscribe('news', news)
      socket.subscribed('news', 80)
      socket.receive({ type: 'lost', channel: 'news', epoch: 'e', offset: 50, tag: 'x' })
      socket.receive(event(51))
      await tick(100)
      expect(socket.asked('subscribe').at(-1)).toMatchObject({ since: { offset: 80, tag: 't80' } })
      socket.subscribed('news', 51, { recovered: false })
      socket.receive(event(52))
      expect(news.onLost.mock.calls).toEqual([[{ epoch: 'e', offset: 51, tag: 't51' }]])
      expect(news.onEvent.mock.calls.map(([data]) => data)).toEqual([52])
    })

    it('is one of many that are asked for a few at a time, and all stand', async () => {
      const socket = await open()
      const all = Array.from(
        { length: 100 },
        (_, index) => client.subscribe(`rooms/${index}`, listen()).ready,
      )
      let answered = 0
      while (answered < 100) {
        const requests = socket.asked('subscribe')
        expect(requests.length - answered).toBeLessThanOrEqual(16)
        const next = requests[answered++]
        socket.subscribed(next?.channel ?? '')
        await tick()
      }
      await Promise.all(all)
    })

    it('refuses a second one of the same channel', async () => {
      await open()
      client.subscribe('news', listen())
      expect(() => client.subscribe('news', listen())).toThrow('a subscription to "news" already')
    })
  })

  it('rejects what cannot be written as JSON, and goes on', async () => {
    const socket = await open()
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    for (const data of [1n, cyclic])
      await expect(client.publish('news', data)).rejects.toMatchObject({ code: 'ERR_REALTIME_BAD_MESSAGE' })
    const answer = client.publish('news', 1)
    socket.receive({ id: socket.asked('publish')[0]?.id ?? 0, type: 'published', channel: 'news', result: 2 })
    expect(await answer).toBe(2)
  })

  it('leaves nothing behind when it is closed', async () => {
    const socket = await open()
    client.subscribe('news', { onEvent: () => undefined })
    client.close()
    client.close()
    expect(socket.readyState).toBe(socket.CLOSING)
    expect(vi.getTimerCount()).toBe(0)
    await expect(client.subscribe('late', { onEvent: () => undefined }).ready).rejects.toMatchObject({
      code: 'ERR_REALTIME_CLOSED',
    })
  })

  it.each([
    ['an address that is none', { url: 'nonsense' }, 'url: "nonsense" is not an address'],
    ['another scheme', { url: 'ftp://a' }, 'must begin with wss: or ws:'],
    ['an unknown option', { tiemout: 5 }, 'unknown option "tiemout"'],
    ['no time', { timeout: 0 }, 'timeout'],
    ['a backoff that shrinks', { backoff: { min: 5, max: 1 } }, 'backoff'],
    ['a negative interval', { pingInterval: -1 }, 'pingInterval'],
  ])('refuses %s', (_name, options, message) => {
    expect(() => start(options as Partial<RealtimeClientOptions>)).toThrow(message)
  })
})
