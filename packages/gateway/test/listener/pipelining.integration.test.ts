import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway, type TestGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer } from '../support/raw.ts'
import { startUpstream, type TestUpstream } from '../support/upstream.ts'

const get = 'GET /api/app/slow HTTP/1.1\r\nHost: a\r\n\r\n'
const handshake =
  'GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** An upstream that takes its time to say "hello". */
function startSlowUpstream(): Promise<TestUpstream> {
  return startUpstream((request, response) => {
    request.resume()
    setTimeout(() => response.end('hello'), 50)
  })
}

function startDoor(upstream: string): Promise<TestGateway> {
  return startGateway({
    routes: [appRoute([upstream]), { name: 'live', path: '/ws/', upstreams: [upstream], websocket: true }],
  })
}

function statusesOf(received: string): number[] {
  return [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}

describe('a WebSocket handshake whose Connection header was dropped', () => {
  it('is told what it lacks', async () => {
    await using gateway = await startGateway({
      routes: [{ name: 'live', path: '/ws/', upstreams: ['http://127.0.0.1:1'], websocket: true }],
    })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /ws/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toContain('needs the header \\"Connection: Upgrade\\"')
  })
})

describe('what comes on a connection behind a request that is not answered yet', () => {
  it.each([
    ['a WebSocket handshake', handshake, 400],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 501],
    ['garbage', 'no http at all\r\n\r\n', 400],
    ['a malformed length', 'POST /api/app/x HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400],
    [
      'a malformed chunked body',
      'POST /api/app/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      400,
    ],
    ['headers that are too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['no host', 'GET /api/app/ HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['an unknown expectation', 'GET /api/app/ HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n', 400],
  ])('is refused after the answer, and the connection ends: %s', async (_name, second, status) => {
    await using upstream = await startSlowUpstream()
    await using gateway = await startDoor(upstream.url)
    const received = await exchangeRaw(gateway.url, get + get + second)
    expect(statusesOf(received)).toEqual([200, 200, status])
    expect(received.match(/hello/g)).toHaveLength(2)
    expect(received).toMatch(/"status":\d{3},[^}]*"code":"ERR_GATEWAY_\w+"[^}]*\}$/)
    await until(() => gateway.status().requests === 0 && gateway.status().connections === 0)
    await until(() => gateway.settled.length === 3)
  })

  it('is aborted at its upstream too when the client leaves', async () => {
    await using upstream = await startRawServer(() => undefined)
    await using gateway = await startDoor(upstream.url)
    await exchangeRaw(gateway.url, get + get, () => false, 300).catch(() => undefined)
    await until(() => gateway.status().requests === 0)
    await until(() => upstream.connections.every((socket) => socket.destroyed))
    expect(gateway.settled.map(({ outcome }) => outcome)).toEqual(['aborted', 'aborted'])
  })
})

describe('CONNECT', () => {
  it('is 501, and a reset right behind it ends nothing', async () => {
    await using upstream = await startSlowUpstream()
    await using gateway = await startDoor(upstream.url)
    const connectRequest = 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'
    expect(statusesOf(await exchangeRaw(gateway.url, connectRequest))).toEqual([501])
    expect(gateway.settled).toMatchObject([{ status: 501, outcome: 'ERR_GATEWAY_NOT_IMPLEMENTED' }])
  })
})

describe('a WebSocket handshake whose client leaves while the upstream hangs', () => {
  it('gives its place back', async () => {
    await using upstream = await startRawServer(() => undefined)
    await using gateway = await startDoor(upstream.url)
    const asked = exchangeRaw(gateway.url, handshake, () => false, 200).catch(() => undefined)
    await until(() => gateway.status().routes[1]?.upstreams[0]?.websockets === 1)
    await asked
    await until(() => gateway.status().routes[1]?.upstreams[0]?.websockets === 0)
    expect(gateway.settled).toMatchObject([{ outcome: 'aborted' }])
  })
})
