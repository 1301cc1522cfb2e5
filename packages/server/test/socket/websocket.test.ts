import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { procedure, service, type UserPrincipal } from '@quintet/core'
import type { RunningTransport, SocketConnection, SocketProtocol } from '@quintet/core/kit'
import { createTestHost, type TestHost, type TestHostOptions, testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient, socketLink, type SocketLink } from '../../src/client.ts'
import { websocket, type WebSocketOptions } from '../../src/index.ts'
import { handshake } from '../support/handshake.ts'
import { sendRaw, until } from '../support/raw.ts'
import { math } from '../support/serve.ts'

const waiting = service('waiting', {
  forever: procedure(
    { access: 'public' },
    ({ signal }) =>
      new Promise<string>((resolve) => signal.addEventListener('abort', () => resolve('aborted'))),
  ),
  ticks: procedure(
    { access: 'public', stream: z.object({ text: z.string() }) },
    async function* ({ signal }) {
      const text = 'x'.repeat(10_000)
      while (!signal.aborted) {
        await new Promise((resolve) => setImmediate(resolve))
        yield { text }
      }
    },
  ),
})

interface App extends AsyncDisposable {
  readonly url: string
  readonly host: TestHost
  readonly running: RunningTransport
  link(token?: string): SocketLink
}

async function start(options: WebSocketOptions = {}, hostOptions: TestHostOptions = {}): Promise<App> {
  const alice: UserPrincipal = testUser({ userId: 'alice', sessionId: 'a' })
  const bob = testUser({ userId: 'bob', sessionId: 'b' })
  const host = createTestHost({
    services: [math, waiting],
    tokens: { alice, bob, 'alice-2': { ...alice } },
    ...hostOptions,
  })
  const running = await websocket(options).start(host)
  const url = running.url ?? ''
  return {
    url,
    host,
    running,
    link: (token) => socketLink({ url, ...(token === undefined ? {} : { token }) }),
    async [Symbol.asyncDispose]() {
      await running.close()
      await host.close()
    },
  }
}

/** A plain connection, and what it receives. */
async function open(
  app: App,
  token = 'alice',
  protocol = 'quintet.rpc.v1',
): Promise<{ socket: WebSocket; received: unknown[]; closed: Promise<[number, string]> }> {
  const socket = new WebSocket(app.url, protocol, { headers: { authorization: `Bearer ${token}` } })
  const received: unknown[] = []
  socket.on('message', (data) => received.push(JSON.parse((data as Buffer).toString())))
  const closed = new Promise<[number, string]>((resolve) =>
    socket.on('close', (code, reason) => resolve([code, reason.toString()])),
  )
  await once(socket, 'open')
  return { socket, received, closed }
}

describe('websocket options', () => {
  it.each([
    [{ pth: '/ws' }, /Did you mean "path"/],
    [{ path: 'ws' }, /must start with/],
    [{ origins: ['app.example'] }, /not an origin/],
    [{ access: 'everybody' }, /no access rule/],
    [{ keepAlive: { intervall: 1 } }, /Did you mean "interval"/],
    [{ slowConsumer: 'ignore' }, /is not one of 'disconnect', 'drop'/],
    [{ maxPayload: 'x' }, /websocket\.maxPayload/],
    [{ maxConnectionsPerUser: 0 }, /websocket\.maxConnectionsPerUser/],
  ])('refuses %j', (options, message) => {
    expect(() => websocket(options as unknown as WebSocketOptions)).toThrow(message)
  })

  it('names the transport, its port and its ways in', () => {
    const transport = websocket({ name: 'live', port: 3006 })
    expect([transport.name, transport.port]).toEqual(['live', 3006])
    expect(transport.operations).toMatchObject([{ surface: 'message', access: 'authenticated' }])
  })

  it('port, host and path say where it listens; a port from outside wins', async () => {
    await using app = await start({ path: '/live' })
    expect(app.url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/live$/)
    const port = Number(new URL(app.url).port)
    await expect(start({ port })).rejects.toThrow(/EADDRINUSE/)
    await using other = await start({ port, host: '0.0.0.0' }, { port: 0 })
    expect(new URL(other.url).port).not.toBe(String(port))
    const local = new URL(other.url)
    local.hostname = '127.0.0.2'
    expect((await handshake(local.href, { authorization: 'Bearer alice' })).status).toBe(101)
  })
})

describe('the handshake', () => {
  it('answers in plain HTTP to whom it does not let in', async () => {
    await using app = await start({
      origins: ['https://app.example'],
      access: { roles: ['member'] },
      path: '/live',
    })
    const statusWith = async (headers: Record<string, string | string[]>): Promise<number> =>
      (await handshake(app.url, headers)).status
    const member = testUser({ userId: 'member', roles: ['member'] })
    app.host.auth.grant('member', member)
    const authorization = 'Bearer member'
    expect(await statusWith({})).toBe(401)
    expect(await statusWith({ authorization: 'Bearer nobody' })).toBe(401)
    expect(await statusWith({ authorization: 'Bearer alice' })).toBe(403)
    expect(await statusWith({ authorization })).toBe(101)
    expect(await statusWith({ authorization, origin: 'https://app.example' })).toBe(101)
    expect(await statusWith({ authorization, origin: 'https://evil.example' })).toBe(403)
    expect(await statusWith({ authorization, origin: 'null' })).toBe(403)
    expect(
      await statusWith({ authorization, 'sec-websocket-protocol': 'bearer.member, quintet.rpc.v1' }),
    ).toBe(400)
    expect(await statusWith({ 'sec-websocket-protocol': 'bearer.member, quintet.rpc.v1' })).toBe(101)
    expect(
      await statusWith({ 'sec-websocket-protocol': 'bearer.member, bearer.alice, quintet.rpc.v1' }),
    ).toBe(400)
    expect(await statusWith({ authorization, 'sec-websocket-version': '7' })).toBe(400)
    const unknown = await handshake(app.url, { authorization, 'sec-websocket-protocol': 'quintet.rpc.v9' })
    expect(unknown).toMatchObject({ status: 400, problem: { details: { supported: ['quintet.rpc.v1'] } } })
    expect((await handshake(app.url.replace('/live', '/ws'), { authorization })).status).toBe(404)
    expect((await handshake(`${app.url}?token=member`)).status).toBe(401)
    app.host.auth.unavailable = true
    expect(await handshake(app.url, { authorization })).toMatchObject({ status: 503, retryAfter: '1' })
  })

  it('tells a plain request to upgrade, and survives what is no HTTP', async () => {
    await using app = await start()
    const answer = await fetch(app.url.replace('ws:', 'http:'))
    expect(answer.status).toBe(426)
    await answer.arrayBuffer()
    const url = app.url.replace('ws:', 'http:')
    expect(await sendRaw(url, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/)
    expect(
      await sendRaw(
        url,
        'GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1\.1 400/)
    expect((await handshake(app.url, { authorization: 'Bearer alice' })).status).toBe(101)
  })

  it('holds the number of connections, in all and of one user', async () => {
    await using app = await start({ maxConnections: 3, maxConnectionsPerUser: 2 })
    const first = await open(app)
    await open(app)
    expect(await handshake(app.url, { authorization: 'Bearer alice' })).toMatchObject({
      status: 429,
      retryAfter: '5',
    })
    await open(app, 'bob')
    expect((await handshake(app.url, { authorization: 'Bearer bob' })).status).toBe(503)
    first.socket.close()
    await first.closed
    const again = await open(app)
    again.socket.close()
  })

  it('ends a client that does not finish it', async () => {
    await using app = await start({ handshakeTimeout: 100 })
    const socket = connect(Number(new URL(app.url).port)).resume()
    socket.write('GET /ws HTTP/1.1\r\nHost:')
    await once(socket, 'close')
  })
})

describe('an option that would end every connection', () => {
  it.each([
    [{ maxPayload: 0 }, /websocket\.maxPayload: 0 bytes is too small/],
    [{ keepAlive: { timeout: 0 } }, /websocket\.keepAlive\.timeout: 0 ms is too small/],
  ])('is refused: %j', (options, message) => {
    expect(() => websocket(options)).toThrow(message)
  })
})

describe('quintet.rpc.v1', () => {
  it('calls, streams and resumes with a typed client', async () => {
    await using app = await start()
    await using link = app.link('alice')
    const client = createClient<typeof math>(link)
    expect(await client.math.add({ a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(await client.math.nothing()).toBe(undefined)
    const seen: number[] = []
    for await (const { id } of client.math.count({ to: 3 })) seen.push(id)
    for await (const { id } of client.math.count({ to: 5 }, { lastEventId: '3' })) seen.push(id)
    const late = client.math.count({ to: 2 })
    await new Promise((resolve) => setImmediate(resolve))
    for await (const { id } of late) seen.push(id)
    expect(seen).toEqual([1, 2, 3, 4, 5, 1, 2])
    await expect(client.math.add({ a: 'x' as never, b: 1 })).rejects.toMatchObject({ kind: 'invalid-input' })
  })

  it('cancels a call whose caller gives up, and a stream that is left', async () => {
    await using app = await start()
    await using link = app.link('alice')
    const client = createClient<typeof waiting>(link)
    const controller = new AbortController()
    const call = client.waiting.forever(undefined, { signal: controller.signal })
    await until(() => app.host.pipeline.active === 1)
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await until(() => app.host.pipeline.active === 0)
    await expect(client.waiting.forever(undefined, { deadline: Date.now() + 50 })).rejects.toMatchObject({
      kind: 'timeout',
    })
    for await (const { text } of client.waiting.ticks()) {
      expect(text.length).toBe(10_000)
      break
    }
    await until(() => app.host.pipeline.active === 0)
  })

  it('streams at the pace of the reader', async () => {
    await using app = await start()
    const { socket, received } = await open(app)
    const count = (): number =>
      received.filter((message) => (message as { type: string }).type === 'item').length
    socket.send(JSON.stringify({ type: 'call', id: 1, method: 'math.count', input: { to: 200 } }))
    await until(() => count() === 64)
    socket.send(JSON.stringify({ type: 'call', id: 2, method: 'math.nothing' }))
    expect(received[0]).toEqual({ type: 'begin', id: 1, resumable: true })
    await until(() => received.length > 65)
    expect(count()).toBe(64)
    socket.send(JSON.stringify({ type: 'credit', id: 1, count: 10 }))
    await until(() => count() === 74)
    socket.send(JSON.stringify({ type: 'credit', id: 1, count: -1 }))
    await until(() => received.length > 76)
    expect(received.at(-1)).toMatchObject({
      type: 'error',
      id: 1,
      error: { code: 'ERR_SERVER_BODY_INVALID' },
    })
    await using link = app.link('alice')
    let seen = 0
    for await (const _event of link.stream('math.count', { to: 1_000 })) seen++
    expect(seen).toBe(1_000)
  })

  it('refuses a session at once that was revoked while the connection is open', async () => {
    await using app = await start({}, { observers: [] })
    const { socket, received, closed } = await open(app)
    socket.send(JSON.stringify({ type: 'call', id: 1, method: 'math.mine' }))
    await until(() => received.length === 1)
    expect(received[0]).toEqual({ type: 'result', id: 1, output: 'alice' })
    app.host.auth.end('alice', 'revoked')
    expect(await closed).toEqual([4401, 'revoked'])
  })

  it('refuses a message of a session that ended without anybody being told', async () => {
    await using app = await start()
    Object.assign(app.host.auth, { watch: undefined })
    const { socket, received } = await open(app)
    app.host.auth.end('alice', 'revoked')
    socket.send(JSON.stringify({ type: 'call', id: 1, method: 'math.mine' }))
    await until(() => received.length === 1)
    expect(received[0]).toMatchObject({ type: 'error', id: 1, error: { kind: 'unauthenticated' } })
  })

  it('closes a connection whose token runs out, unless it was renewed', async () => {
    await using app = await start()
    const expiring = testUser({ userId: 'carol', sessionId: 'c', expiresAt: Date.now() + 150 })
    app.host.auth.grant('carol', expiring)
    app.host.auth.grant('carol-2', { ...expiring, expiresAt: Date.now() + 60_000 })
    const left = await open(app, 'carol')
    await using link = app.link('carol')
    expect(await link.call('math.mine', undefined)).toBe('carol')
    await expect(link.renew('bob')).rejects.toMatchObject({ code: 'ERR_SERVER_BAD_REQUEST' })
    await link.renew('carol-2')
    expect(await left.closed).toEqual([4401, 'expired'])
    expect(await link.call('math.mine', undefined)).toBe('carol')
  })

  const deep = `${'['.repeat(100)}${']'.repeat(100)}`
  it.each([
    ['no JSON', '{', null],
    ['a list', '[]', null],
    ['what is not quite JSON', '{"type":"call","id":7,"input":[}', 7],
    ['nesting that is too deep', `{"type":"call","id":7,"method":"math.echo","input":${deep}}`, 7],
    ['__proto__', '{"type":"call","id":"a","method":"math.echo","input":{"__proto__":{"id":9}}}', 'a'],
    ['a member that is given twice', '{"type":"call","type":"call","id":7}', 7],
    ['an id that is given twice', '{"type":"call","id":7,"id":8}', null],
    ['an id that is no number any more', '{"type":"call","id":1e999,"method":"math.mine"}', null],
    ['an id that loses digits', '{"type":"call","id":9007199254740993,"method":"math.mine"}', null],
    ['too much', `{"type":"call","id":7,"input":"${'x'.repeat(2_000)}"}`, 7],
    ['too much of nothing', 'x'.repeat(2_000), null],
  ])('answers to %s and keeps the connection for the other calls', async (_what, message, id) => {
    await using app = await start({ maxPayload: '1kb' })
    const { socket, received } = await open(app)
    socket.send(JSON.stringify({ type: 'call', id: 1, method: 'waiting.forever' }))
    socket.send(message)
    await until(() => received.length === 1)
    expect(received[0]).toMatchObject({
      type: 'error',
      id,
      error: { kind: expect.stringMatching(/invalid-input|too-large/) as string },
    })
    socket.send(JSON.stringify({ type: 'call', id: 2, method: 'math.mine' }))
    await until(() => received.length === 2)
    expect(received[1]).toEqual({ type: 'result', id: 2, output: 'alice' })
    expect(app.host.pipeline.active).toBe(1)
  })

  it('closes the connection on a message that is far too large, and keeps it on binary ones', async () => {
    await using app = await start({ maxPayload: '1kb' })
    const { socket, received, closed } = await open(app)
    socket.send(Buffer.from([1, 2, 3]), { binary: true })
    await until(() => received.length === 1)
    expect(received[0]).toMatchObject({ type: 'error', id: null })
    socket.send('x'.repeat(5_000))
    expect((await closed)[0]).toBe(1009)
  })

  it('renews one token at a time, so that no client has many authorizations in progress', async () => {
    await using app = await start()
    const { socket, received } = await open(app)
    const release = Promise.withResolvers<void>()
    let inProgress = 0
    let most = 0
    const authorize = app.host.pipeline.authorize.bind(app.host.pipeline)
    app.host.pipeline.authorize = async (call) => {
      most = Math.max(most, ++inProgress)
      await release.promise
      return authorize(call).finally(() => inProgress--)
    }
    for (let id = 1; id <= 100; id++) socket.send(JSON.stringify({ type: 'renew', id, token: 'alice' }))
    await until(() => received.length === 99)
    expect(received.map((message) => (message as { error: { code: string } }).error.code)).toEqual(
      Array.from({ length: 99 }, () => 'ERR_SERVER_CONNECTION_LIMIT'),
    )
    release.resolve()
    await until(() => received.length === 100)
    expect(received.at(-1)).toEqual({ type: 'result', id: 1 })
    expect(most).toBe(1)
    socket.send(JSON.stringify({ type: 'renew', id: 101, token: 'alice' }))
    await until(() => received.length === 101)
    expect(received.at(-1)).toEqual({ type: 'result', id: 101 })
  })

  it('answers to a ping', async () => {
    await using app = await start()
    const { socket, received } = await open(app)
    socket.send(JSON.stringify({ type: 'ping', id: 3 }))
    await until(() => received.length === 1)
    expect(received[0]).toEqual({ type: 'pong', id: 3 })
  })

  it('answers a message that makes no sense with an error', async () => {
    await using app = await start()
    const { socket, received } = await open(app)
    const messages = [
      {},
      { id: 1 },
      { id: 2, type: 'call' },
      { id: 3, type: 'call', method: '__proto__' },
      { id: 4, type: 'renew' },
      { id: 5, type: 'call', method: 'math.nothing', deadlineMs: 'x' },
    ]
    for (const message of messages) socket.send(JSON.stringify(message))
    await until(() => received.length === messages.length)
    expect(received.every((message) => (message as { type: string }).type === 'error')).toBe(true)
    socket.send(JSON.stringify({ type: 'call', id: 9, method: 'waiting.forever' }))
    socket.send(JSON.stringify({ type: 'call', id: 9, method: 'waiting.forever' }))
    await until(() => received.length === messages.length + 1)
    expect(received.at(-1)).toMatchObject({ id: 9, error: { code: 'ERR_SERVER_BODY_INVALID' } })
  })
})

describe('a connection', () => {
  it('that does not answer to a ping is ended', async () => {
    await using app = await start({ keepAlive: { interval: 30, timeout: 60 } })
    const socket = new WebSocket(app.url, 'quintet.rpc.v1', {
      headers: { authorization: 'Bearer alice' },
      autoPong: false,
    })
    await once(socket, 'open')
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).toBe(1006)
  })

  it('that answers stays, and is closed with the next heartbeat after its session ended unseen', async () => {
    await using app = await start({ keepAlive: { interval: 20, timeout: 500 } })
    Object.assign(app.host.auth, { watch: undefined })
    const { socket, closed } = await open(app)
    let pings = 0
    socket.on('ping', () => pings++)
    await until(() => pings > 3)
    app.host.auth.end('alice', 'revoked')
    expect((await closed)[0]).toBe(4401)
  })

  const flood: SocketProtocol = {
    name: 'flood.v1',
    open: (connection: SocketConnection) => {
      const piece = 'x'.repeat(64 * 1024)
      let dropped = 0
      const timer = setInterval(() => {
        for (let count = 0; count < 50; count++) if (!connection.send(piece)) dropped++
        results.dropped = dropped
        results.buffered = Math.max(results.buffered, connection.bufferedBytes)
      }, 5)
      return { message() {}, notifyShutdown() {}, closed: () => clearInterval(timer) }
    },
  }
  const results = { dropped: 0, buffered: 0 }

  it.each(['disconnect', 'drop'] as const)(
    'whose client does not read is bounded: %s',
    async (slowConsumer) => {
      results.dropped = 0
      results.buffered = 0
      await using app = await start({ slowConsumer, maxBufferedBytes: '256kb', protocols: [flood] })
      const socket = new WebSocket(app.url, 'flood.v1', { headers: { authorization: 'Bearer alice' } })
      await once(socket, 'open')
      socket.pause()
      await until(() => results.dropped > 0)
      expect(results.buffered).toBeLessThan(512 * 1024)
      if (slowConsumer === 'disconnect') {
        socket.resume()
        await once(socket, 'close')
      } else {
        expect(socket.readyState).toBe(WebSocket.OPEN)
        socket.terminate()
      }
    },
  )

  it('does not compress', async () => {
    await using app = await start()
    const { socket } = await open(app)
    expect(socket.extensions).toBe('')
  })
})

describe('drain', () => {
  it('tells every client, lets calls finish, ends streams, refuses new ones and closes with 1001', async () => {
    await using app = await start()
    const release = Promise.withResolvers<void>()
    const slow = service('slow', {
      call: procedure({ access: 'public' }, () => release.promise.then(() => 'done')),
    })
    await using other = await start({}, { services: [math, waiting, slow], tokens: { alice: testUser() } })
    const { socket, received, closed } = await open(other)
    socket.send(JSON.stringify({ type: 'call', id: 1, method: 'slow.call' }))
    socket.send(JSON.stringify({ type: 'call', id: 2, method: 'waiting.ticks' }))
    await until(() => received.length > 3)
    const drained = other.running.drain('deployment', AbortSignal.timeout(5_000))
    // What connects before it has stopped listening is told so.
    const answer = (): Promise<unknown> =>
      handshake(other.url, { authorization: 'Bearer alice' }).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      )
    const answers = new Set<unknown>()
    while (!answers.has('ECONNREFUSED')) answers.add(await answer())
    expect([...answers].filter((each) => each !== 503)).toEqual(['ECONNREFUSED'])
    await until(() => received.some((message) => (message as { type: string }).type === 'error'))
    expect(received).toContainEqual({
      type: 'shutdown',
      reason: 'deployment',
      reconnectAfterMs: expect.any(Number) as number,
    })
    expect(received.find((message) => (message as { type: string }).type === 'error')).toMatchObject({
      id: 2,
      error: { kind: 'closed' },
    })
    release.resolve()
    expect(await closed).toEqual([1001, 'deployment'])
    expect(received.at(-1)).toEqual({ type: 'result', id: 1, output: 'done' })
    await drained
    await app.running.drain('shutdown', AbortSignal.timeout(100))
  })

  it('terminates at its deadline whoever does not close', async () => {
    await using app = await start()
    const socket = connect(Number(new URL(app.url).port))
    socket.write(
      'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quintet.rpc.v1, bearer.alice\r\n\r\n',
    )
    await once(socket, 'data')
    const closed = once(socket.resume(), 'close')
    await app.running.drain('shutdown', AbortSignal.timeout(100))
    await closed
  })
})
