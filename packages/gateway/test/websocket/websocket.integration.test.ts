import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { until } from '@quintet/test-kit'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer, type RawData } from 'ws'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import type { GatewayRouteOptions } from '../../src/index.ts'
import { exchangeRaw, startRawServer, statusOf } from '../support/raw.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function startSockets(
  options: ConstructorParameters<typeof WebSocketServer>[0] = {},
): Promise<{ url: string; sockets: WebSocketServer }> {
  const http = createServer((_request, response) => response.writeHead(426).end())
  const sockets = new WebSocketServer({ server: http, ...options })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  cleanups.push(async () => {
    for (const socket of sockets.clients) socket.terminate()
    sockets.close()
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  })
  return { url: `http://127.0.0.1:${(http.address() as { port: number }).port}`, sockets }
}

async function through(upstream: string, options: Partial<GatewayRouteOptions> = {}): Promise<TestGateway> {
  const gateway = await startGateway({
    routes: [
      {
        name: 'realtime',
        path: '/ws/',
        upstreams: [upstream],
        websocket: true,
        stripPrefix: false,
        ...options,
      },
    ],
  })
  cleanups.push(() => gateway.close())
  return gateway
}

function dial(gateway: TestGateway, protocols: string[] = [], path = '/ws/room'): WebSocket {
  const socket = new WebSocket(gateway.url.replace('http', 'ws') + path, protocols)
  socket.on('error', () => undefined)
  cleanups.push(() => socket.terminate())
  return socket
}

describe('a WebSocket', () => {
  it('goes through in both directions, with its subprotocol, path and forwarding headers', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    sockets.on('connection', (socket, request) => {
      socket.send(
        JSON.stringify({
          url: request.url,
          protocol: socket.protocol,
          from: request.headers['x-forwarded-for'],
        }),
      )
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    })
    const client = dial(gateway, ['chat.v2', 'chat.v1'])
    const messages: string[] = []
    client.on('message', (data: RawData) => messages.push(data.toString()))
    await once(client, 'open')
    client.send('hello')
    await until(() => messages.length === 2)
    expect(JSON.parse(messages[0] ?? '')).toEqual({ url: '/ws/room', protocol: 'chat.v2', from: '127.0.0.1' })
    expect(messages[1]).toBe('hello')
    expect(gateway.status().websockets).toBe(1)
    client.close(4000, 'bye')
    const [code, reason] = (await once(client, 'close')) as [number, Buffer]
    expect([code, reason.toString()]).toEqual([4000, 'bye'])
    await until(() => gateway.status().websockets === 0)
    expect(gateway.settled).toMatchObject([{ status: 101, outcome: 'ok', route: 'realtime' }])
    expect(gateway.status().routes[0]?.upstreams[0]).toMatchObject({ requests: 0, websockets: 0 })
  })

  it('carries big messages whole', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
    const client = dial(gateway)
    await once(client, 'open')
    const big = Buffer.alloc(8 * 1024 * 1024, 7)
    client.send(big)
    const [data] = (await once(client, 'message')) as [Buffer]
    expect(data.equals(big)).toBe(true)
  })

  it('does not let one side send what the other does not read', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    const client = dial(gateway)
    const [server] = (await once(sockets, 'connection')) as [WebSocket]
    await once(client, 'open')
    client.pause()
    const chunk = Buffer.alloc(1024 * 1024)
    for (let index = 0; index < 64; index++) server.send(chunk)
    await until(() => server.bufferedAmount > 40 * chunk.length)
    client.resume()
    await until(() => server.bufferedAmount === 0)
  })

  it('gets the answer of an upstream that refuses it, and the connection ends', async () => {
    const { url } = await startSockets({ verifyClient: (_info, done) => done(false, 401, 'Unauthorized') })
    const gateway = await through(url)
    const client = dial(gateway)
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(401)
    await until(() => gateway.status().requests === 0)
  })

  it('cannot carry a second request past the gateway when the upstream did not switch', async () => {
    await using upstream = await startRawServer((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
    )
    const gateway = await through(upstream.url)
    const handshake =
      'GET /ws/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    const answer = await exchangeRaw(gateway.url, `${handshake}GET /secret HTTP/1.1\r\nHost: a\r\n\r\n`)
    expect(statusOf(answer)).toBe(200)
    expect(upstream.received).not.toContain('/secret')
  })

  it('is 502 when the upstream cannot be reached', async () => {
    const gateway = await through('http://127.0.0.1:1')
    const client = dial(gateway)
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(502)
  })

  it('is an ordinary request on a route without websocket', async () => {
    const { url } = await startSockets()
    const gateway = await through(url, { websocket: false })
    const client = dial(gateway)
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(426)
  })

  it('may send right after its handshake, in the same packet', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    cleanups.push(() => void socket.destroy())
    const handshake =
      'GET /ws/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    socket.write(Buffer.concat([Buffer.from(handshake), Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69])]))
    const [server] = (await once(sockets, 'connection')) as [WebSocket]
    const [data] = (await once(server, 'message')) as [Buffer]
    expect(data.toString()).toBe('hi')
  })

  it('ends on both sides when one of them breaks', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    const client = dial(gateway)
    const [server] = (await once(sockets, 'connection')) as [WebSocket]
    client.terminate()
    await once(server, 'close')
    const other = dial(gateway)
    const [otherServer] = (await once(sockets, 'connection')) as [WebSocket]
    await once(other, 'open')
    otherServer.terminate()
    await once(other, 'close')
    await until(() => gateway.status().websockets === 0)
  })
})

describe('a WebSocket of which one side has left', () => {
  it('is cut when the other side does not answer', async () => {
    await using upstream = await startRawServer((socket, received) => {
      if (received.endsWith('\r\n\r\n'))
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
        )
    })
    upstream.allowHalfOpen()
    const gateway = await through(upstream.url, { maxWebSockets: 1 })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    socket.on('error', () => undefined).resume()
    socket.write(
      'GET /ws/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    await until(() => gateway.status().websockets === 1)
    socket.end()
    await until(() => gateway.status().websockets === 0, 10_000)
    await until(() => gateway.status().routes[0]?.upstreams[0]?.websockets === 0)
    socket.destroy()
  })
})

describe('maintenance', () => {
  it('closes the WebSockets of what it closes, and leaves the others', async () => {
    const { url, sockets } = await startSockets()
    const flags: Record<string, string> = {}
    const redis = { get: async (key: string) => flags[key] ?? null }
    const token = 'a-token-of-an-operator'
    const gateway = await startGateway({
      maintenance: { redis, interval: 20, allow: { token } },
      routes: ['one', 'two'].map((name) => ({
        name,
        path: `/${name}/`,
        upstreams: [url],
        websocket: true,
      })),
    })
    cleanups.push(() => gateway.close())
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
    const client = dial(gateway, [], '/one/')
    const other = dial(gateway, [], '/two/')
    const operator = new WebSocket(`${gateway.url.replace('http', 'ws')}/one/`, {
      headers: { 'x-maintenance-token': token },
    })
    cleanups.push(() => operator.terminate())
    await Promise.all([client, other, operator].map((socket) => once(socket, 'open')))
    flags['platform:maintenance:one'] = '1'
    const [code, reason] = (await once(client, 'close')) as [number, Buffer]
    expect([code, reason.toString()]).toEqual([1001, 'maintenance'])
    for (const socket of [other, operator]) {
      socket.send('still here')
      expect(String((await once(socket, 'message'))[0])).toBe('still here')
    }
  })
})

describe('drain with WebSockets', () => {
  it('tells Quintet clients in their own words, closes with 1001, and tells the upstream too', async () => {
    const { url, sockets } = await startSockets({ handleProtocols: () => 'quintet.realtime.v1' })
    const gateway = await through(url)
    const client = dial(gateway, ['quintet.realtime.v1'])
    const [server] = (await once(sockets, 'connection')) as [WebSocket]
    await once(client, 'open')
    const messages: unknown[] = []
    client.on('message', (data: RawData) => messages.push(JSON.parse(data.toString())))
    const closed = once(client, 'close') as Promise<[number, Buffer]>
    const serverClosed = once(server, 'close') as Promise<[number]>
    await gateway.drain('deployment', AbortSignal.timeout(5_000))
    const [code, reason] = await closed
    expect([code, reason.toString()]).toEqual([1001, 'deployment'])
    expect((await serverClosed)[0]).toBe(1001)
    expect(messages).toEqual([
      { type: 'server_shutdown', reason: 'deployment', reconnectAfterMs: expect.any(Number) },
    ])
    expect(gateway.status().websockets).toBe(0)
  })

  it('only closes others, and never in the middle of a frame', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    const client = dial(gateway)
    const [server] = (await once(sockets, 'connection')) as [WebSocket]
    await once(client, 'open')
    const lengths: number[] = []
    client.on('message', (data: Buffer) => lengths.push(data.length))
    for (let index = 0; index < 64; index++) server.send(Buffer.alloc(1024 * 1024))
    await once(client, 'message')
    client.pause()
    const drained = gateway.drain('shutdown', AbortSignal.timeout(5_000))
    const closed = once(client, 'close') as Promise<[number, Buffer]>
    client.resume()
    expect((await closed)[0]).toBe(1001)
    expect(lengths.length).toBeGreaterThan(0)
    expect(new Set(lengths)).toEqual(new Set([1024 * 1024]))
    await drained
  })

  it('does not wait for a client that never answers the close frame', async () => {
    const { url, sockets } = await startSockets()
    const gateway = await through(url)
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    cleanups.push(() => void socket.destroy())
    socket.write(
      'GET /ws/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    await once(sockets, 'connection')
    await until(() => gateway.status().websockets === 1)
    const at = performance.now()
    await gateway.drain('shutdown', AbortSignal.timeout(10_000))
    expect(performance.now() - at).toBeLessThan(6_000)
    expect(gateway.status().websockets).toBe(0)
  })
})

describe('the limit of open WebSockets', () => {
  it('is apart from the one of requests, and more are 503', async () => {
    const { url } = await startSockets()
    const gateway = await through(url, { maxWebSockets: 2, maxConcurrentRequests: 1 })
    const open = [dial(gateway), dial(gateway)]
    await Promise.all(open.map((socket) => once(socket, 'open')))
    expect((await fetch(`${gateway.url}/ws/room`)).status).toBe(426)
    const [, response] = (await once(dial(gateway), 'unexpected-response')) as [
      unknown,
      { statusCode: number },
    ]
    expect(response.statusCode).toBe(503)
    open[0]?.close()
    await until(() => gateway.status().websockets === 1)
    await once(dial(gateway), 'open')
  })
})
