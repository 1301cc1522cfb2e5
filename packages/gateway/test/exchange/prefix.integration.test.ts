import { describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer } from '../support/raw.ts'
import { startUpstream, type Echo } from '../support/upstream.ts'

describe('a prefix that is cut off', () => {
  it('is told to the upstream, behind what trusted proxies have cut off before', async () => {
    await using upstream = await startUpstream()
    const prefixOf = async (url: string, given?: string): Promise<string | undefined> => {
      const headers = given === undefined ? {} : { 'x-forwarded-prefix': given }
      return ((await (await fetch(url, { headers })).json()) as Echo).headers['x-forwarded-prefix']
    }
    await using edge = await startGateway({
      routes: [
        appRoute([upstream.url]),
        { name: 'kept', path: '/kept/', upstreams: [upstream.url], stripPrefix: false },
        { name: 'all', path: '/', upstreams: [upstream.url] },
      ],
    })
    expect(await prefixOf(`${edge.url}/api/app/x`)).toBe('/api/app')
    expect(await prefixOf(`${edge.url}/api/app/x`, '/evil')).toBe('/api/app')
    expect(await prefixOf(`${edge.url}/kept/x`, '/evil')).toBe(undefined)
    expect(await prefixOf(`${edge.url}/x`, '/evil')).toBe(undefined)
    await using inner = await startGateway({
      routes: [appRoute([upstream.url])],
      trustedProxies: ['127.0.0.0/8'],
    })
    expect(await prefixOf(`${inner.url}/api/app/x`, '/outer')).toBe('/outer/api/app')
    for (const bad of ['outer', '/a/../b', '//evil', '/a b', '/'])
      expect(await prefixOf(`${inner.url}/api/app/x`, bad)).toBe('/api/app')
  })

  it.each([
    ['location: /pub', 'location: /api/app/pub'],
    ['location: /', 'location: /api/app/'],
    ['location: /api/apple', 'location: /api/app/api/apple'],
    ['location: /api/app?x', 'location: /api/app?x'],
    ['location: /api/app/pub', 'location: /api/app/pub'],
    ['location: pub', 'location: pub'],
    ['location: //host/pub', 'location: //host/pub'],
    ['location: /\\host/pub', 'location: /\\host/pub'],
    ['location: https://host/pub', 'location: https://host/pub'],
    ['content-location: /pub', 'content-location: /api/app/pub'],
    ['set-cookie: a=1; path=/auth', 'set-cookie: a=1; path=/api/app/auth'],
    ['set-cookie: a=1; Path=/', 'set-cookie: a=1; Path=/'],
    ['set-cookie: __Host-a=1; Path=/; Secure', 'set-cookie: __Host-a=1; Path=/; Secure'],
    ['set-cookie: a=1; Path=/api/app/auth', 'set-cookie: a=1; Path=/api/app/auth'],
    ['set-cookie: path=/x', 'set-cookie: path=/x'],
    ['x-other: /pub', 'x-other: /pub'],
  ])('comes back in answers: %s', async (sent, received) => {
    await using upstream = await startRawServer((socket) =>
      socket.end(`HTTP/1.1 200 OK\r\n${sent}\r\ncontent-length: 3\r\n\r\nend`),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toContain(`\r\n${received}\r\n`)
  })
})

describe('a path that stands for another at the upstream', () => {
  it.each([
    ['location: /login', 'location: /api/app/login', {}],
    ['location: http://shop.example/login', 'location: http://shop.example/api/app/login', {}],
    ['location: HTTPS://Shop.example/login?x', 'location: HTTPS://Shop.example/api/app/login?x', {}],
    ['location: http://shop.example', 'location: http://shop.example', {}],
    ['location: http://shop.example.evil/login', 'location: http://shop.example.evil/login', {}],
    ['location: http://shop.example@evil/login', 'location: http://shop.example@evil/login', {}],
    ['set-cookie: a=1; Path="/x"', 'set-cookie: a=1; Path="/api/app/x"', {}],
    ['location: /ws/login', 'location: /api/app/login', { upstreamPath: '/ws' }],
    ['location: /ws', 'location: /api/app', { upstreamPath: '/ws/' }],
    ['location: /wsx', 'location: /wsx', { upstreamPath: '/ws' }],
    ['location: /other', 'location: /other', { upstreamPath: '/ws' }],
    ['set-cookie: a=1; Path=/ws', 'set-cookie: a=1; Path=/api/app', { upstreamPath: '/ws' }],
    ['location: /ws/login', 'location: /login', { path: '/', upstreamPath: '/ws' }],
    ['location: /ws', 'location: /', { path: '/', upstreamPath: '/ws' }],
    ['location: /pub', 'location: /pub', { stripPrefix: false }],
  ])('is the client’s again: %s becomes %s (%j)', async (sent, received, options) => {
    await using upstream = await startRawServer((socket) =>
      socket.end(`HTTP/1.1 200 OK\r\n${sent}\r\ncontent-length: 3\r\n\r\nend`),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url], options)] })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toContain(`\r\n${received}\r\n`)
  })

  it('is the client’s again in the cookies of a WebSocket handshake', async () => {
    await using upstream = await startRawServer((socket) =>
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nset-cookie: a=1; Path=/app\r\n\r\n',
      ),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url], { websocket: true })] })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      (received) => received.includes('\r\n\r\n'),
    )
    expect(answer).toContain('set-cookie: a=1; Path=/api/app/app\r\n')
  })
})

describe('trace context', () => {
  it('goes through, and two parents are none', async () => {
    await using upstream = await startUpstream()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const seen = async (lines: string): Promise<string> =>
      await exchangeRaw(gateway.url, `GET /api/app/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`)
    expect(await seen(`traceparent: ${parent}\r\ntracestate: a=1\r\n`)).toContain(`"traceparent":"${parent}"`)
    const twice = await seen(`traceparent: ${parent}\r\nTraceparent: ${parent}\r\ntracestate: a=1\r\n`)
    expect(twice).not.toContain('traceparent')
    expect(twice).not.toContain('tracestate')
  })
})
