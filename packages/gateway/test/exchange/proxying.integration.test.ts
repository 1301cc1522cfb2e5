import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appRoute, startGateway, type TestGateway } from '../support/gateway.ts'
import { exchangeRaw } from '../support/raw.ts'
import { startUpstream, type Echo, type TestUpstream } from '../support/upstream.ts'

describe('createGateway', () => {
  let upstream: TestUpstream
  let gateway: TestGateway

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await startGateway({
      routes: [
        appRoute([upstream.url]),
        { name: 'kept', path: '/kept/', upstreams: [upstream.url], stripPrefix: false },
        { name: 'small', path: '/small/', upstreams: [upstream.url], maxRequestSize: '1kb' },
      ],
    })
  })

  afterAll(async () => {
    await gateway.close()
    await upstream.stop()
  })

  it('listens where it is told', async () => {
    await using other = await startGateway({ host: '127.0.0.2', routes: [appRoute([upstream.url])] })
    expect(other.url).toMatch(/^http:\/\/127\.0\.0\.2:\d+$/)
    expect((await fetch(`${other.url}/livez`)).status).toBe(200)
  })

  it('strips the prefix of the route and keeps the query', async () => {
    const echo = (await (await fetch(`${gateway.url}/api/app/objects/1?a=b`)).json()) as Echo
    expect(echo.url).toBe('/objects/1?a=b')
  })

  it('keeps the prefix with stripPrefix: false', async () => {
    const echo = (await (await fetch(`${gateway.url}/kept/x`)).json()) as Echo
    expect(echo.url).toBe('/kept/x')
  })

  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'forwards %s with a body of known length',
    async (method) => {
      const echo = await send(method, { 'content-length': '5' }, 'hello')
      expect(echo).toMatchObject({ method, body: 'hello', headers: { 'content-length': '5' } })
    },
  )

  it.each(['GET', 'POST', 'DELETE', 'OPTIONS'])('forwards %s with a chunked body', async (method) => {
    const echo = await send(method, { 'transfer-encoding': 'chunked' }, 'hello')
    expect(echo).toMatchObject({ method, body: 'hello', headers: { 'transfer-encoding': 'chunked' } })
  })

  it('answers HEAD without a body and with its headers', async () => {
    const response = await fetch(`${gateway.url}/api/app/x`, { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.text()).toBe('')
  })

  it('tells the upstream who asks, and overwrites what the client claims', async () => {
    const response = await fetch(`${gateway.url}/api/app/`, {
      headers: {
        'x-forwarded-for': '6.6.6.6',
        'x-forwarded-proto': 'https',
        forwarded: 'for=6.6.6.6',
        'x-real-ip': '6.6.6.6',
      },
    })
    const { headers } = (await response.json()) as Echo
    const host = new URL(gateway.url).host
    expect(headers).toMatchObject({
      host,
      via: '1.1 quintet',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': host,
      forwarded: `for=127.0.0.1;host="${host}";proto=http`,
    })
    expect(headers).not.toHaveProperty('x-real-ip')
  })

  it('believes a trusted proxy', async () => {
    await using trusting = await startGateway({
      routes: [appRoute([upstream.url])],
      trustedProxies: ['127.0.0.0/8'],
    })
    const response = await fetch(`${trusting.url}/api/app/`, {
      headers: {
        'x-forwarded-for': '6.6.6.6, 1.2.3.4',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'shop.example',
      },
    })
    expect(((await response.json()) as Echo).headers).toMatchObject({
      'x-forwarded-for': '1.2.3.4, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'shop.example',
      forwarded: 'for=1.2.3.4;host="shop.example";proto=https',
    })
  })

  it('hands a request id on and back, and makes one where there is none or a malformed one', async () => {
    const given = await fetch(`${gateway.url}/api/app/`, { headers: { 'x-request-id': 'abc-1' } })
    expect(given.headers.get('x-request-id')).toBe('abc-1')
    expect(((await given.json()) as Echo).headers['x-request-id']).toBe('abc-1')
    const made = await fetch(`${gateway.url}/api/app/`, { headers: { 'x-request-id': 'a b"c' } })
    expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('adds security headers where the upstream has none, and none with securityHeaders: false', async () => {
    await using framed = await startUpstream((_request, response) =>
      response.setHeader('X-Frame-Options', 'SAMEORIGIN').end(),
    )
    await using plain = await startGateway({ routes: [appRoute([framed.url])], securityHeaders: false })
    await using own = await startGateway({
      routes: [appRoute([framed.url])],
      securityHeaders: { 'X-Frame-Options': 'DENY', 'X-Own': '1' },
    })
    expect((await fetch(`${gateway.url}/api/app/`)).headers.get('x-content-type-options')).toBe('nosniff')
    expect((await fetch(`${gateway.url}/nothing`)).headers.get('x-content-type-options')).toBe('nosniff')
    expect((await fetch(`${plain.url}/api/app/`)).headers.get('x-content-type-options')).toBeNull()
    const answer = await fetch(`${own.url}/api/app/`)
    expect([answer.headers.get('x-frame-options'), answer.headers.get('x-own')]).toEqual(['SAMEORIGIN', '1'])
  })

  it('keeps every Set-Cookie apart', async () => {
    await using cookies = await startUpstream((_request, response) =>
      response.setHeader('set-cookie', ['a=1', 'b=2']).end(),
    )
    await using other = await startGateway({ routes: [appRoute([cookies.url])] })
    expect((await fetch(`${other.url}/api/app/`)).headers.getSetCookie()).toEqual(['a=1', 'b=2'])
  })

  it('answers what it does not serve with problem details', async () => {
    const response = await fetch(`${gateway.url}/nothing/here`, { headers: { 'x-request-id': 'r-1' } })
    expect(response.status).toBe(404)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.json()).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      kind: 'not-found',
      status: 404,
      detail: 'Nothing is served under this path.',
      code: 'ERR_GATEWAY_NO_ROUTE',
      requestId: 'r-1',
    })
  })

  it('refuses a body that announces too much before any of it is read', async () => {
    const before = upstream.seen.length
    const response = await fetch(`${gateway.url}/small/`, { method: 'POST', body: 'x'.repeat(1_025) })
    expect(response.status).toBe(413)
    expect(((await response.json()) as { code: string }).code).toBe('ERR_GATEWAY_BODY_TOO_LARGE')
    expect(upstream.seen.length).toBe(before)
    expect((await fetch(`${gateway.url}/small/`, { method: 'POST', body: 'x'.repeat(1_024) })).status).toBe(
      200,
    )
  })

  it('refuses a chunked body where it becomes too large', async () => {
    const body = `POST /small/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${'200\r\n'}${'x'.repeat(512)}\r\n201\r\n${'x'.repeat(513)}\r\n0\r\n\r\n`
    const answer = await exchangeRaw(gateway.url, body, (received) => received.endsWith('}'))
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  })

  it('reports what became of each request', async () => {
    const before = gateway.settled.length
    await (await fetch(`${gateway.url}/api/app/x`, { method: 'PUT', body: 'x' })).text()
    await (await fetch(`${gateway.url}/nothing`)).text()
    expect(gateway.settled.slice(before)).toMatchObject([
      { method: 'PUT', route: 'app', upstream: upstream.url, status: 200, outcome: 'ok', attempts: 1 },
      {
        method: 'GET',
        route: undefined,
        upstream: undefined,
        status: 404,
        outcome: 'ERR_GATEWAY_NO_ROUTE',
        attempts: 0,
      },
    ])
  })

  it('answers its own probes, whatever the routes', async () => {
    await using everything = await startGateway({
      routes: [{ name: 'all', path: '/', upstreams: [upstream.url] }],
    })
    const before = upstream.seen.length
    expect(await (await fetch(`${everything.url}/livez`)).json()).toEqual({ status: 'pass' })
    expect((await fetch(`${everything.url}/readyz`)).status).toBe(200)
    expect(upstream.seen.length).toBe(before)
  })

  async function send(method: string, headers: Record<string, string>, body: string): Promise<Echo> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(`${gateway.url}/api/app/x`, { method, headers }, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('end', () => resolve(JSON.parse(text) as Echo))
      })
      request.on('error', reject)
      request.end(body)
    })
  }
})
