import { afterEach, describe, expect, it, vi } from 'vitest'
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { route } from '@quintet/core'
import type { HttpPlugin } from '@quintet/core/kit'
import { http, httpDefaults, type HttpOptions } from '../../src/index.ts'
import { resolveHttp } from '../../src/options/http-options.ts'
import { sendRaw, until } from '../support/raw.ts'
import { serve } from '../support/serve.ts'

afterEach(() => vi.unstubAllEnvs())

describe('http options', () => {
  it.each([
    [{ port: 70_000 }, /http\.port: 70000 is not a port/],
    [{ prot: 1 }, /unknown key "prot"\. Did you mean "port"\?/],
    [
      { requestTimeout: '30s', headersTimeout: '60s' },
      /headersTimeout: 60000 ms is above http\.requestTimeout \(30000 ms\)/,
    ],
    [{ requestTimeout: 'soon' }, /http\.requestTimeout/],
    [{ maxRequestSize: 'big' }, /http\.maxRequestSize/],
    [{ maxConnections: 0 }, /http\.maxConnections/],
    [{ maxBatchCalls: 1.5 }, /http\.maxBatchCalls/],
    [{ cors: true }, /not an allow-list/],
    [{ cors: ['app.example'] }, /^http\.cors\[0\]: "app\.example" is not an origin/],
    [
      { cors: { origins: ['https://a.example', 'https://app.example/'] } },
      /^http\.cors\.origins\[1\]: .* is not an origin/,
    ],
    [{ cors: { origins: ['*'], credentials: true } }, /stands alone/],
    [{ trustedProxies: ['10.0.0.0/99'] }, /trustedProxies/],
    [{ securityHeaders: { 'bad name': 'x' } }, /is not a header name/],
    [{ securityHeaders: { good: 'a\r\nb' } }, /one line/],
    [{ compression: { level: 9 } }, /unknown key "level"/],
    [{ openapi: { docz: '/d' } }, /Did you mean "docs"/],
    [{ websocket: { pth: '/ws' } }, /http\.websocket: unknown key "pth"\. Did you mean "path"/],
    [{ websocket: { port: 1 } }, /http\.websocket: unknown key "port"/],
    [{ websocket: { keepAlive: { interval: 'x' } } }, /http\.websocket\.keepAlive\.interval/],
  ])('refuses %j', (options, message) => {
    expect(() => http(options as unknown as HttpOptions)).toThrow(message)
  })

  it('lowers the default for the headers to a shorter request timeout', () => {
    expect(resolveHttp({ requestTimeout: '30s' }).headersTimeout).toBe(30_000)
    expect(resolveHttp({ requestTimeout: 0 }).headersTimeout).toBe(60_000)
  })

  it('does not change what it was given', () => {
    const options = Object.freeze({ cors: Object.freeze(['https://a.example']), plugins: Object.freeze([]) })
    expect(() => http(options)).not.toThrow()
  })

  it('names the transport, its port and the ways in that it opens itself', () => {
    const transport = http({ name: 'public', port: 3002 })
    expect([transport.name, transport.port]).toEqual(['public', 3002])
    expect(transport.operations?.map(({ name, access }) => [name, access])).toEqual([
      ['GET /openapi.json', 'public'],
      ['GET /docs', 'public'],
    ])
    expect(http({ openapi: false }).operations).toEqual([])
    expect(http().name).toBe(httpDefaults.name)
  })

  it('port and host say where it listens; a port from outside wins', async () => {
    await using app = await serve()
    expect(app.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const { port } = new URL(app.url)
    await expect(serve({ port: Number(port) })).rejects.toThrow(/EADDRINUSE/)
    await using other = await serve({ port: Number(port), host: '0.0.0.0' }, { port: 0 })
    expect(other.url).not.toBe(app.url)
  })

  it('keepAliveTimeout ends an idle connection', async () => {
    await using app = await serve({ keepAliveTimeout: 50 })
    const socket = connect(Number(new URL(app.url).port))
    socket.resume().write('POST /rpc/math/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
    await once(socket, 'close')
  })

  it('maxConnections closes what is above it', async () => {
    await using app = await serve({ maxConnections: 1 })
    const first = connect(Number(new URL(app.url).port))
    await once(first, 'connect')
    const second = connect(Number(new URL(app.url).port)).resume()
    second.on('error', () => {})
    await once(second, 'close')
    first.destroy()
  })

  it('plugins answer before the pipeline', async () => {
    const seen: string[] = []
    const plugin: HttpPlugin = {
      name: 'probe',
      operations: [
        { surface: 'route', name: 'GET /livez', access: 'public', freshness: undefined, timeout: 0 },
      ],
      start: (host) => void seen.push(host.process),
      handle(request, response) {
        if (request.url !== '/livez') return false
        response.end('alive')
        return true
      },
    }
    await using app = await serve({ plugins: [plugin] })
    expect(await (await fetch(`${app.url}/livez`)).text()).toBe('alive')
    expect((await app.post('/rpc/math/nothing')).status).toBe(204)
    expect(seen).toEqual(['main'])
    const ways = http({ plugins: [plugin], openapi: false }).operations?.map(({ name }) => name)
    expect(ways).toEqual(['GET /livez'])
  })

  it('credentials reads them from elsewhere', async () => {
    const credentials = (request: IncomingMessage) => ({
      scheme: 'bearer' as const,
      token: String(request.headers['x-token']),
    })
    await using app = await serve({ credentials })
    expect(await (await app.post('/rpc/math/mine', undefined, { 'x-token': 'alice' })).json()).toBe('alice')
    expect((await app.post('/rpc/math/mine', undefined, { authorization: 'Bearer alice' })).status).toBe(401)
  })

  it('trustedProxies are believed about scheme and host, and others are not', async () => {
    const routes = [
      route({ method: 'GET', pattern: '/url', access: 'public', handler: ({ url }) => new Response(url) }),
    ]
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'app.example' }
    await using trusting = await serve({ trustedProxies: ['127.0.0.0/8'] }, { routes })
    expect(await (await fetch(`${trusting.url}/url?a=1`, { headers })).text()).toBe(
      'https://app.example/url?a=1',
    )
    await using other = await serve({ trustedProxies: ['10.0.0.0/8'] }, { routes })
    expect(await (await fetch(`${other.url}/url`, { headers })).text()).toBe(`${other.url}/url`)
  })

  describe('securityHeaders', () => {
    it('are on every answer, with HSTS in production', async () => {
      vi.stubEnv('NODE_ENV', 'production')
      await using app = await serve()
      for (const path of ['/rpc/math/nothing', '/rpc/math/mine', '/nowhere']) {
        const { headers } = await app.post(path)
        expect(headers.get('x-content-type-options')).toBe('nosniff')
        expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
        expect(headers.get('referrer-policy')).toBe('no-referrer')
        expect(headers.get('strict-transport-security')).toContain('max-age=31536000')
      }
    })

    it('have no HSTS elsewhere, can be replaced and dropped', async () => {
      await using app = await serve({
        securityHeaders: { 'Referrer-Policy': 'origin', 'x-content-type-options': false },
      })
      const { headers } = await app.post('/rpc/math/nothing')
      expect(headers.get('strict-transport-security')).toBe(null)
      expect(headers.get('referrer-policy')).toBe('origin')
      expect(headers.get('x-content-type-options')).toBe(null)
      await using bare = await serve({ securityHeaders: false })
      expect((await bare.post('/rpc/math/nothing')).headers.get('content-security-policy')).toBe(null)
    })
  })

  describe('cors', () => {
    const preflight = (url: string, origin: string): Promise<Response> =>
      fetch(`${url}/rpc/math/add`, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization, content-type',
        },
      })

    it('lets the listed origins call, and no other', async () => {
      await using app = await serve({ cors: ['https://app.example'] })
      const allowed = await preflight(app.url, 'https://app.example')
      expect(allowed.status).toBe(204)
      expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example')
      expect(allowed.headers.get('access-control-allow-headers')).toBe('authorization, content-type')
      expect(allowed.headers.get('access-control-allow-credentials')).toBe(null)
      expect(allowed.headers.get('access-control-max-age')).toBe('600')
      const refused = await preflight(app.url, 'https://evil.example')
      expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null])
      const answer = await app.post('/rpc/math/nothing', undefined, { origin: 'https://app.example' })
      expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example')
      expect(answer.headers.get('vary')).toContain('origin')
      const other = await app.post('/rpc/math/nothing', undefined, { origin: 'https://evil.example' })
      expect(other.headers.get('access-control-allow-origin')).toBe(null)
    })

    it('is off by default, may be open without credentials, and with credentials for listed origins', async () => {
      await using off = await serve()
      expect((await preflight(off.url, 'https://app.example')).status).toBe(405)
      await using open = await serve({ cors: ['*'] })
      expect(
        (await preflight(open.url, 'https://any.example')).headers.get('access-control-allow-origin'),
      ).toBe('*')
      await using cookies = await serve({
        cors: { origins: ['https://app.example'], credentials: true, maxAge: '1m' },
      })
      const { headers } = await preflight(cookies.url, 'https://app.example')
      expect(headers.get('access-control-allow-credentials')).toBe('true')
      expect(headers.get('access-control-max-age')).toBe('60')
    })
  })

  describe('openapi', () => {
    it('can be moved, kept from strangers and turned off', async () => {
      await using moved = await serve({ openapi: { path: '/api/spec.json', docs: '/api/read' } })
      expect((await fetch(`${moved.url}/api/spec.json`)).status).toBe(200)
      expect(await (await fetch(`${moved.url}/api/read`)).text()).toContain(
        'data-document="../api/spec.json"',
      )
      await using closed = await serve({ openapi: { access: 'authenticated', docs: false } })
      expect((await fetch(`${closed.url}/openapi.json`)).status).toBe(401)
      expect((await fetch(`${closed.url}/docs`)).status).toBe(404)
      await using off = await serve({ openapi: false })
      expect((await fetch(`${off.url}/openapi.json`)).status).toBe(404)
    })
  })
})

describe('drain', () => {
  it('serves what has begun, says Connection: close, and closes idle and silent connections', async () => {
    const release = Promise.withResolvers<void>()
    const routes = [
      route({
        method: 'GET',
        pattern: '/slow',
        access: 'public',
        handler: async () => {
          await release.promise
          return new Response('done')
        },
      }),
    ]
    await using app = await serve({}, { routes })
    const { port } = new URL(app.url)
    const silent = connect(Number(port)).resume()
    const idle = connect(Number(port)).resume()
    idle.write('POST /rpc/math/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
    await once(idle, 'data')
    const slow = sendRaw(app.url, 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => app.host.pipeline.active === 1)
    const closed = Promise.all([once(silent, 'close'), once(idle, 'close')])
    const drained = app.running.drain('shutdown', AbortSignal.timeout(5_000))
    await closed
    await expect(fetch(`${app.url}/slow`)).rejects.toThrow()
    release.resolve()
    const answer = await slow
    expect(answer).toMatch(/^HTTP\/1\.1 200/)
    expect(answer).toMatch(/connection: close/i)
    await drained
  })

  it('closes a connection whose answer was begun before it, and ends streams so that they are resumed elsewhere', async () => {
    const release = Promise.withResolvers<void>()
    const routes = [
      route({
        method: 'GET',
        pattern: '/begun',
        access: 'public',
        handler: () =>
          new Response(
            new ReadableStream({
              async start(controller) {
                controller.enqueue(new Uint8Array(1))
                await release.promise
                controller.close()
              },
            }),
          ),
      }),
    ]
    await using app = await serve({}, { routes })
    let answer = ''
    const socket = connect(Number(new URL(app.url).port))
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
    socket.write('GET /begun HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => answer.includes('\r\n\r\n'))
    const drained = app.running.drain('shutdown', AbortSignal.timeout(5_000))
    release.resolve()
    await once(socket, 'close')
    expect(answer).toMatch(/connection: keep-alive/i)
    await drained
  })

  it('does not wait for a client that stands still in the middle of a body, but for one that goes on', async () => {
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'public',
        handler: async (request) => Response.json((await request.arrayBuffer()).byteLength),
      }),
    ]
    await using app = await serve({ requestTimeout: 0, uploadProgressTimeout: 0 }, { routes })
    const begin = (path: string): [Socket, Promise<string>] => {
      const socket = connect(Number(new URL(app.url).port))
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1`,
      )
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
      return [socket, once(socket, 'close').then(() => text.split('\r\n', 1)[0] ?? '')]
    }
    const [, still] = begin('/up')
    const [, stillCall] = begin('/rpc/math/echo')
    const [moving, served] = begin('/up')
    await until(() => app.host.pipeline.active === 3)
    const drained = app.running.drain('shutdown', AbortSignal.timeout(20_000))
    for (let sent = 1; sent < 10; sent++) {
      await new Promise((resolve) => setTimeout(resolve, 500))
      moving.write('2')
    }
    expect(await served).toBe('HTTP/1.1 200 OK')
    expect(await still).toBe('HTTP/1.1 408 Request Timeout')
    expect(await stillCall).toBe('HTTP/1.1 408 Request Timeout')
    await drained
  })

  it('ends at its deadline, whatever still runs', async () => {
    const routes = [
      route({ method: 'GET', pattern: '/hangs', access: 'public', handler: () => new Promise(() => {}) }),
    ]
    await using app = await serve({}, { routes })
    const answer = fetch(`${app.url}/hangs`).catch(() => 'cut')
    await until(() => app.host.pipeline.active === 1)
    await app.running.drain('shutdown', AbortSignal.timeout(50))
    await app.running.close()
    expect(await answer).toBe('cut')
  })
})
