import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createGateway, type GatewayRouteOptions } from '../../src/index.ts'
import { nginxIsInstalled, startNginx } from '../support/nginx.ts'
import { exchangeRaw, startRawServer, statusOf, type RawServer } from '../support/raw.ts'
import { startUpstream, type Echo, type TestUpstream } from '../support/upstream.ts'

interface FrontDoor extends AsyncDisposable {
  readonly url: string
}

interface Setting {
  readonly routes: readonly Omit<GatewayRouteOptions, 'rateLimit'>[]
  readonly redis: PrivateRedis
}

const operator = 'a-token-of-an-operator'
const times = { interval: 50, timeout: 200, holdFor: 1_500, retryAfter: '2m' } as const
const timeouts = { connect: 500, headers: 500, idle: 500 } as const

const doors: readonly (readonly [
  name: string,
  installed: boolean,
  start: (setting: Setting) => Promise<FrontDoor>,
])[] = [
  [
    'the gateway',
    true,
    async ({ routes, redis }) => {
      const client = new Redis(redis.url, {
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        retryStrategy: () => 30,
      })
      client.on('error', () => undefined)
      await until(() => client.status === 'ready')
      const gateway = await createGateway({
        port: 0,
        routes,
        timeouts,
        maintenance: { redis: client, ...times, allow: { token: operator } },
      })
      return {
        url: gateway.url,
        async [Symbol.asyncDispose]() {
          await gateway.close()
          client.disconnect()
        },
      }
    },
  ],
  [
    'the generated nginx',
    nginxIsInstalled,
    ({ routes, redis }) =>
      startNginx(
        {
          routes,
          timeouts,
          maintenance: {
            redis: { host: '127.0.0.1', port: redis.port },
            ...times,
            allow: { tokenFrom: 'OPERATOR_TOKEN' },
          },
        },
        { OPERATOR_TOKEN: operator },
      ),
  ],
]

describe.each(doors)('%s', (_name, installed, start) => {
  describe.runIf(installed)('behaves alike', () => {
    let redis: PrivateRedis
    let flags: Redis
    let app: TestUpstream
    const raw = { answer: '', server: undefined as unknown as RawServer }
    let sockets: WebSocketServer
    let socketServer: ReturnType<typeof createServer>
    let door: FrontDoor

    beforeAll(async () => {
      redis = await startPrivateRedis()
      flags = new Redis(redis.url, { retryStrategy: () => 30 })
      flags.on('error', () => undefined)
      app = await startUpstream()
      raw.server = await startRawServer((socket, received) => {
        if (received.includes('/answer')) socket.end(raw.answer)
        else if (received.includes('/truncated'))
          socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello')
        else if (received.includes('/closed')) socket.destroy()
        else if (!received.includes('/silent'))
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello')
      })
      socketServer = createServer((_request, response) => response.writeHead(426).end())
      sockets = new WebSocketServer({ server: socketServer })
      sockets.on('connection', (socket) =>
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
      )
      await new Promise<void>((resolve) => socketServer.listen(0, '127.0.0.1', resolve))
      door = await start({
        redis,
        routes: [
          { name: 'app', path: '/api/app/', upstreams: [app.url], affinity: 'tenant' },
          { name: 'kept', path: '/kept/', upstreams: [app.url], stripPrefix: false, maxRequestSize: '1kb' },
          { name: 'mapped', path: '/mapped/', upstreams: [app.url], upstreamPath: '/own/ws' },
          { name: 'raw', path: '/raw/', upstreams: [raw.server.url] },
          { name: 'down', path: '/down/', upstreams: ['http://127.0.0.1:1'] },
          {
            name: 'ws',
            path: '/ws/',
            upstreams: [`http://127.0.0.1:${(socketServer.address() as AddressInfo).port}`],
            websocket: true,
          },
        ],
      })
    })

    afterAll(async () => {
      await door?.[Symbol.asyncDispose]()
      for (const socket of sockets.clients) socket.terminate()
      socketServer.closeAllConnections()
      await new Promise((resolve) => socketServer.close(resolve))
      await raw.server[Symbol.asyncDispose]()
      await app.stop()
      flags.disconnect()
      await redis.stop()
    })

    const status = async (path: string, init?: RequestInit): Promise<number> => {
      const response = await fetch(door.url + path, init)
      await response.body?.cancel()
      return response.status
    }

    it.each([
      ['/api/app/a%2fb', 200, '/a%2fb'],
      ['/api/app/a%252fb', 200, '/a%252fb'],
      ['/api/app/a%20b', 200, '/a%20b'],
      ['/api/app/%C3%BC?q=%2f', 200, '/%C3%BC?q=%2f'],
      ['/api/app/a//b', 200, '/a//b'],
      ['/api/app/a;b=1,c', 200, '/a;b=1,c'],
      ['/api/app/a%25', 200, '/a%25'],
      ['/api/app', 200, '/'],
      ['/api/app?x=1', 200, '/?x=1'],
      ['/kept/a%2fb', 200, '/kept/a%2fb'],
      ['/mapped', 200, '/own/ws'],
      ['/mapped/?x=1', 200, '/own/ws?x=1'],
      ['/mapped/a%2fb', 200, '/own/ws/a%2fb'],
      ['/mapped//a', 400, ''],
      ['/api%2fapp/x', 404, ''],
      ['/api/app%2fx', 404, ''],
      ['/api/app//evil.example', 400, ''],
      ['//evil.example/api/app/', 400, ''],
      ['/api/app/..%2fx', 400, ''],
      ['/api/app/%2e%2e/x', 400, ''],
      ['/api/app/a%5c..%5cb', 400, ''],
    ])('reads the path %s in one way', async (path, status, seen) => {
      const answer = await exchangeRaw(
        door.url,
        `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      )
      expect(statusOf(answer)).toBe(status)
      if (status === 200) expect(/"url":"([^"]*)"/.exec(answer)?.[1]).toBe(seen)
    })

    it('gives redirects and cookie paths their prefix back, and tells it', async () => {
      raw.answer =
        'HTTP/1.1 302 Found\r\nlocation: /pub?x=1\r\nset-cookie: a=1; Path=/auth; Secure\r\nset-cookie: b=1; Path=/\r\ncontent-length: 0\r\n\r\n'
      const answer = await exchangeRaw(
        door.url,
        'GET /raw/answer HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\nConnection: close\r\n\r\n',
      )
      expect(answer).toMatch(/\r\nlocation: \/raw\/pub\?x=1\r\n/i)
      expect(answer).toMatch(/\r\nset-cookie: a=1; Path=\/raw\/auth; Secure\r\n/i)
      expect(answer).toMatch(/\r\nset-cookie: b=1; Path=\/\r\n/i)
      expect(raw.server.received).toMatch(/\r\nx-forwarded-prefix: \/raw\r\n/i)
      expect(raw.server.received).not.toContain('/evil')
      for (const own of ['/raw/pub', 'https://elsewhere.example/pub', '//elsewhere.example/']) {
        raw.answer = `HTTP/1.1 302 Found\r\nlocation: ${own}\r\ncontent-length: 0\r\n\r\n`
        const kept = await exchangeRaw(
          door.url,
          'GET /raw/answer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
        )
        expect(kept.toLowerCase()).toContain(`\r\nlocation: ${own}\r\n`)
      }
    })

    it('strips prefixes, keeps queries, and matches on segments', async () => {
      const urlOf = async (path: string): Promise<string> =>
        ((await (await fetch(door.url + path)).json()) as Echo).url
      expect(await urlOf('/api/app/objects/1?a=b')).toBe('/objects/1?a=b')
      expect(await urlOf('/api/app')).toBe('/')
      expect(await urlOf('/kept/x?y')).toBe('/kept/x?y')
      expect(await status('/api/application')).toBe(404)
    })

    it('answers with problem details', async () => {
      const response = await fetch(`${door.url}/nothing`, { headers: { 'x-request-id': 'r-1' } })
      expect(response.status).toBe(404)
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(await response.json()).toMatchObject({
        status: 404,
        code: 'ERR_GATEWAY_NO_ROUTE',
        kind: 'not-found',
        requestId: 'r-1',
      })
    })

    it('overwrites what a client claims about itself', async () => {
      const response = await fetch(`${door.url}/api/app/`, {
        headers: {
          'x-forwarded-for': '6.6.6.6',
          'x-forwarded-proto': 'https',
          'x-forwarded-host': 'evil',
          'x-real-ip': '6.6.6.6',
          'x-forwarded-ssl': 'on',
          'x-forwarded-user': 'admin',
          'x-original-url': '/admin',
          'front-end-https': 'on',
          'x-request-id': 'r-2',
        },
      })
      const { headers } = (await response.json()) as Echo
      expect(headers).toMatchObject({
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': new URL(door.url).host,
        'x-request-id': 'r-2',
      })
      for (const name of ['real-ip', 'forwarded-ssl', 'forwarded-user', 'original-url'])
        expect(headers).not.toHaveProperty(`x-${name}`)
      expect(headers).not.toHaveProperty('front-end-https')
      expect(response.headers.get('x-request-id')).toBe('r-2')
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    })

    it.each([
      ['both framings', 'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG'],
      ['two lengths', 'Content-Length: 1\r\nContent-Length: 0\r\n\r\nG'],
      ['an unknown coding', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
      ['two hosts', 'Host: b\r\n\r\n'],
      ['a malformed chunk', 'Transfer-Encoding: chunked\r\n\r\n+1\r\nG\r\n0\r\n\r\n'],
    ])('refuses %s', async (_what, rest) => {
      const answer = await exchangeRaw(door.url, `POST /raw/x HTTP/1.1\r\nHost: a\r\n${rest}`, (received) =>
        received.includes('\r\n\r\n'),
      )
      expect([400, 501]).toContain(statusOf(answer))
    })

    it.each([
      '/api/app/../x',
      '/api/app/%2e%2e/x',
      '/api/app/..%2fx',
      '/api/app/..;/x',
      '/api/app/%2e',
      '/raw/a%5c..%5cx',
    ])('refuses the path %s', async (path) => {
      expect(
        statusOf(await exchangeRaw(door.url, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)),
      ).toBe(400)
    })

    it('never sends on h2c, nor a header with an underscore', async () => {
      const before = raw.server.received.length
      const request =
        'GET /raw/h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n'
      await exchangeRaw(door.url, `${request}\r\n`, (received) => received.includes('hello'))
      await exchangeRaw(door.url, `${request}Transfer_Encoding: chunked\r\n\r\n`, (received) =>
        received.includes('\r\n\r\n'),
      )
      const sent = raw.server.received.slice(before).toLowerCase()
      for (const name of ['upgrade:', 'http2-settings', 'transfer_encoding']) expect(sent).not.toContain(name)
    })

    it('limits headers and bodies', async () => {
      expect(
        statusOf(
          await exchangeRaw(
            door.url,
            `GET /api/app/ HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
          ),
        ),
      ).toBe(431)
      expect(await status('/kept/', { method: 'POST', body: 'x'.repeat(1_025) })).toBe(413)
      expect(await status('/kept/', { method: 'POST', body: 'x'.repeat(1_024) })).toBe(200)
    })

    it('tells 502 from 504, and cuts off a truncated answer', async () => {
      expect(await status('/down/')).toBe(502)
      expect(await status('/raw/closed')).toBe(502)
      expect(await status('/raw/silent')).toBe(504)
      const truncated = await fetch(`${door.url}/raw/truncated`)
      await expect(truncated.text()).rejects.toThrow()
    })

    it('takes a client that ends its half before the answer for one that has left', async () => {
      const { hostname, port } = new URL(door.url)
      const client = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
      let received = ''
      client.on('data', (data) => (received += String(data))).on('error', () => undefined)
      client.end('GET /raw/silent HTTP/1.1\r\nhost: a\r\n\r\n')
      await once(client, 'close')
      // Not even the 504 that a client gets which waits.
      expect(received).toBe('')
    })

    it('passes on headers of an answer up to 64 kB', async () => {
      const ask = async (size: number): Promise<number> => {
        raw.answer = `HTTP/1.1 200 OK\r\na: ${'x'.repeat(size)}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`
        const close = 'GET /raw/answer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
        return statusOf(await exchangeRaw(door.url, close))
      }
      expect(await ask(60_000)).toBe(200)
      expect(await ask(70_000)).toBe(502)
    })

    it('streams a body while it is still being sent', async () => {
      const before = raw.server.received.length
      const request = httpRequest(`${door.url}/raw/stream`, { method: 'POST' })
      request.on('error', () => undefined)
      request.write('the first part')
      await until(() => raw.server.received.slice(before).includes('the first part'))
      request.destroy()
    })

    it('carries WebSockets', async () => {
      const socket = new WebSocket(`${door.url.replace('http', 'ws')}/ws/room`)
      await once(socket, 'open')
      socket.send('hello')
      expect(String(((await once(socket, 'message')) as [Buffer])[0])).toBe('hello')
      socket.close(4000)
      expect(((await once(socket, 'close')) as [number])[0]).toBe(4000)
    })

    it('is closed by a flag for all, with Retry-After, a page for browsers, and health within reach', async () => {
      await flags.set('platform:maintenance', 'Back at <noon>')
      await until(async () => (await status('/api/app/')) === 503)
      const problem = await fetch(`${door.url}/kept/`)
      expect([
        problem.status,
        problem.headers.get('retry-after'),
        problem.headers.get('content-type'),
      ]).toEqual([503, '120', 'application/problem+json'])
      expect(await problem.json()).toMatchObject({
        code: 'ERR_GATEWAY_MAINTENANCE',
        detail: 'Back at <noon>',
      })
      const page = await fetch(`${door.url}/kept/`, { headers: { accept: 'text/html' } })
      expect([page.status, page.headers.get('content-type')]).toEqual([503, 'text/html; charset=utf-8'])
      expect(await page.text()).toContain('Back at &lt;noon&gt;')
      expect(await status('/livez')).toBe(200)
      const echo = await (
        await fetch(`${door.url}/api/app/`, { headers: { 'x-maintenance-token': operator } })
      ).json()
      expect((echo as Echo).headers).not.toHaveProperty('x-maintenance-token')
      await flags.del('platform:maintenance')
      await until(async () => (await status('/api/app/')) === 200)
    })

    it('is closed for one app, or one tenant', async () => {
      const bearer = (tid: string): RequestInit => ({
        headers: {
          authorization: `Bearer e30.${Buffer.from(JSON.stringify({ tid })).toString('base64url')}.c2ln`,
        },
      })
      await flags.set('platform:maintenance:kept', '1')
      await flags.set('platform:maintenance:tenants', 'acme, globex')
      await until(async () => (await status('/kept/')) === 503)
      await until(async () => (await status('/api/app/', bearer('globex'))) === 503)
      expect(await status('/api/app/')).toBe(200)
      expect(await status('/api/app/', bearer('initech'))).toBe(200)
      await flags.del('platform:maintenance:kept', 'platform:maintenance:tenants')
      await until(async () => (await status('/kept/')) === 200)
    })

    it('holds its last state while Redis is dead, and then opens', async () => {
      await flags.set('platform:maintenance', '1')
      await until(async () => (await status('/api/app/')) === 503)
      await redis.kill()
      const at = performance.now()
      await until(async () => (await status('/api/app/')) === 200)
      expect(performance.now() - at).toBeGreaterThan(1_000)
      await redis.restart()
      await flags.set('platform:maintenance', '1')
      await until(async () => (await status('/api/app/')) === 503)
      await flags.del('platform:maintenance')
    })
  })
})
