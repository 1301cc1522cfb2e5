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
