import { createServer, type Server } from 'node:http'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemPrincipal } from '@quintet/core'
import { describeAccess, noCredentials } from '@quintet/core/kit'
import { createTestHost, type TestHost } from '@quintet/core/testing'
import { freePort } from '@quintet/test-kit'
import { Secret } from '@quintet/core'
import { afterEach, describe, expect, it } from 'vitest'
import { probes, type ProbesOptions } from '../../src/index.ts'

interface Site {
  readonly host: TestHost
  get(path: string, headers?: Record<string, string>, method?: string): Promise<Answer>
}
interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly body: string
}

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

async function serve(options: ProbesOptions = {}): Promise<Site> {
  const host = createTestHost()
  open.push(() => host.close())
  const plugin = probes(options)
  await plugin.start(host)
  const server: Server = createServer((request, response) => {
    if (!plugin.handle(request, response)) response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(() => new Promise((resolve) => server.close(() => resolve())))
  const { port } = server.address() as AddressInfo
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const request = httpRequest(
        { port, host: '127.0.0.1', path, headers, method, agent: false },
        (response) => {
          let body = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => (body += chunk))
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          )
        },
      )
      request.on('error', reject)
      request.end()
    })
  return { host, get }
}

const token = 'a-token-of-some-length'
const operator = { authorization: `Bearer ${token}` }

describe('probes', () => {
  it('answers livez and ok without asking any check', async () => {
    const { host, get } = await serve()
    let asked = 0
    host.health.add({ name: 'database', check: () => Promise.reject(new Error(`down ${asked++}`)) })
    for (const path of ['/livez', '/ok', '/livez?verbose']) {
      expect(await get(path)).toMatchObject({ status: 200, body: '{"status":"pass"}' })
    }
    expect(asked).toBe(0)
  })

  it('fails livez while the event loop is late', async () => {
    const { get } = await serve({ maxEventLoopDelay: 1 })
    const end = performance.now() + 10_000
    let status = 200
    while (status === 200 && performance.now() < end) {
      const busyUntil = performance.now() + 120
      while (performance.now() < busyUntil);
      status = (await get('/livez')).status
    }
    expect(status).toBe(503)
  })

  it('answers readyz with 503 when a critical check fails, and says no more than that', async () => {
    const { host, get } = await serve()
    expect(await get('/readyz')).toMatchObject({ status: 200, body: '{"status":"pass"}' })
    host.health.add({ name: 'database', check: () => Promise.reject(new Error('password=hunter2')) })
    const answer = await get('/readyz')
    expect(answer).toMatchObject({ status: 503, body: '{"status":"fail"}' })
  })

  it('stays ready when a check that is not critical fails', async () => {
    const { host, get } = await serve()
    host.health.add({ name: 'mail', critical: false, check: () => Promise.reject(new Error('down')) })
    expect(await get('/readyz')).toMatchObject({ status: 200, body: '{"status":"warn"}' })
  })

  it('is not ready from the moment the process stops accepting', async () => {
    const { host, get } = await serve()
    host.health.stopAccepting()
    expect((await get('/readyz')).status).toBe(503)
    expect((await get('/livez')).status).toBe(200)
    expect((await get('/startupz')).status).toBe(200)
  })

  it('refuses methods that change something, and answers HEAD without a body', async () => {
    const { get } = await serve()
    expect(await get('/readyz', {}, 'POST')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
    expect(await get('/readyz', {}, 'HEAD')).toMatchObject({ status: 200, body: '' })
  })

  it('leaves other paths alone', async () => {
    const { get } = await serve()
    for (const path of ['/', '/livez/', '/readyzz', '/metrics/x', '//livez'])
      expect((await get(path)).status).toBe(404)
  })

  it('says what it answers, and whom', () => {
    const ways = probes({ prefix: '/internal' }).operations ?? []
    expect(ways.map(({ name, access }) => `${name} ${describeAccess(access)}`)).toEqual([
      'GET /internal/livez public',
      'GET /internal/ok public',
      'GET /internal/readyz public',
      'GET /internal/startupz public',
      'GET /internal/health operators',
      'GET /internal/metrics operators',
    ])
  })

  it('answers under a prefix only', async () => {
    const { get } = await serve({ prefix: '/internal' })
    expect((await get('/internal/livez')).status).toBe(200)
    expect((await get('/livez')).status).toBe(404)
  })

  it.each(['/health', '/metrics'])('shows %s to nobody by the address of the peer alone', async (path) => {
    const { get } = await serve()
    // As nginx passes requests on by default: from loopback, with nothing added.
    expect((await get(path)).status).toBe(403)
    expect((await get(path, { host: 'localhost' })).status).toBe(403)
    expect((await get(path, { authorization: 'Bearer ' })).status).toBe(403)
  })

  it.each(['/health', '/metrics'])('shows %s to whoever brings the token', async (path) => {
    const { get } = await serve({ operators: { token } })
    expect(await get(path)).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Bearer realm="operators"' },
    })
    expect((await get(path, { authorization: 'Bearer a-token-of-some-lengtH' })).status).toBe(401)
    expect((await get(path, operator)).status).toBe(200)
  })

  it('takes the token as a secret', async () => {
    const { get } = await serve({ operators: { token: new Secret(token) } })
    expect((await get('/health', operator)).status).toBe(200)
  })

  describe('on a port for operators', () => {
    it('answers everybody there, and nobody elsewhere', async () => {
      const port = await freePort()
      const { get } = await serve({ operators: { port } })
      const there = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`)
      for (const path of ['/health', '/metrics', '/readyz']) expect((await there(path)).status).toBe(200)
      expect((await there('/')).status).toBe(404)
      expect((await get('/metrics')).status).toBe(403)
      expect((await get('/metrics', { host: `127.0.0.1:${port}` })).status).toBe(403)
    })

    it.each(['127.0.0.1', '127.1', '::ffff:127.0.0.1', 'LOCALHOST', '2130706433'])(
      'on %s refuses a page that reaches loopback under a name of its own',
      async (address) => {
        const port = await freePort()
        await serve({ operators: { port, host: address } })
        const status = (host: string): Promise<number | undefined> =>
          new Promise((resolve, reject) => {
            const options = {
              port,
              host: address === 'LOCALHOST' ? 'localhost' : '127.0.0.1',
              path: '/metrics',
              headers: { host },
              agent: false,
            }
            httpRequest(options, (response) => {
              response.resume()
              resolve(response.statusCode)
            })
              .on('error', reject)
              .end()
          })
        expect(await status(`evil.example:${port}`)).toBe(403)
        expect(await status(`localhost:${port}`)).toBe(200)
        expect(await status(`[::1]:${port}`)).toBe(200)
      },
    )

    it('listens on the host that it is given, under names of all kinds', async () => {
      const port = await freePort()
      await serve({ operators: { port, host: '0.0.0.0' } })
      expect((await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { host: 'app' } })).status).toBe(200)
    })

    it('keeps the process from starting when the port is taken, and is free again after its end', async () => {
      const port = await freePort()
      const { host } = await serve({ operators: { port } })
      await expect(serve({ operators: { port } })).rejects.toThrow('EADDRINUSE')
      await host.close()
      await serve({ operators: { port } })
    })
  })

  it('shows operators that the process is stopping, as failed', async () => {
    const { host, get } = await serve({ operators: { token } })
    expect(await get('/health', operator)).toMatchObject({ status: 200 })
    host.health.stopAccepting()
    const answer = await get('/health', operator)
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.body)).toMatchObject({ status: 'fail', accepting: false, started: true })
  })

  it('shows operators the checks and how calls performed', async () => {
    const { host, get } = await serve({ operators: { token } })
    host.health.add({ name: 'database', check: () => Promise.resolve('ready') })
    await runCall(host, 'objects.list')
    const answer = await get('/health', operator)
    const body = JSON.parse(answer.body) as Record<string, unknown>
    expect(body).toMatchObject({
      status: 'pass',
      system: 'test',
      process: 'main',
      accepting: true,
      checks: { database: { status: 'pass', detail: 'ready' } },
      performance: { calls: { count: 1, failed: 0 }, operations: { 'objects.list': { count: 1 } } },
    })
  })

  it('exports calls under the OpenTelemetry names, by operation, outcome and status', async () => {
    const { host, get } = await serve({ operators: { token } })
    await runCall(host, 'objects.list')
    await runCall(host, 'objects.list')
    await runCall(host, 'objects.remove', true)
    await runCall(host, 'job:make-thumbnail', false, 'job')
    const { body, headers } = await get('/metrics', operator)
    expect(headers['content-type']).toContain('text/plain')
    expect(body).toContain(
      'http_server_request_duration_seconds_count{operation="objects.list",outcome="ok",http_response_status_code=""} 2',
    )
    expect(body).toContain(
      'http_server_request_duration_seconds_count{operation="objects.remove",outcome="internal",http_response_status_code=""} 1',
    )
    expect(body).toContain(
      'messaging_process_duration_seconds_count{operation="job:make-thumbnail",outcome="ok"} 1',
    )
    expect(body).toContain(
      'http_server_request_duration_seconds_bucket{operation="objects.list",outcome="ok",http_response_status_code="",le="0.005"}',
    )
    expect(body).toContain('quintet_calls_active 0')
    expect(body).toContain('process_cpu_seconds_total')
  })

  it('leaves out what Node tells when asked to', async () => {
    const { get } = await serve({ nodeMetrics: false, operators: { token } })
    expect((await get('/metrics', operator)).body).not.toContain('process_cpu_seconds_total')
  })

  it('refuses unknown options, short tokens and a prefix that is no path', () => {
    expect(() => probes({ operator: {} } as ProbesOptions)).toThrow(
      'probes: unknown key "operator". Did you mean "operators"?',
    )
    expect(() => probes({ operators: { tokn: 'x' } as never })).toThrow(
      'probes.operators: unknown key "tokn"',
    )
    expect(() => probes({ operators: { token: 'short' } })).toThrow(
      'probes.operators.token: a shorter text is not a secret of at least 16 characters',
    )
    expect(() => probes({ prefix: 'internal/' })).toThrow('probes.prefix')
  })
})

async function runCall(
  host: TestHost,
  name: string,
  fail = false,
  surface: 'rpc' | 'job' = 'rpc',
): Promise<void> {
  await host.pipeline
    .run(
      {
        operation: { surface, name, access: 'system', freshness: undefined, timeout: 0 },
        credentials: fail
          ? noCredentials
          : { scheme: 'attested', principal: systemPrincipal('test'), by: 'in-process' },
        requestId: 'r1',
        signal: new AbortController().signal,
        ...(fail
          ? {
              credentials: {
                scheme: 'attested',
                principal: systemPrincipal('test'),
                by: 'in-process',
              } as const,
            }
          : {}),
      },
      {
        input: () => undefined,
        handle: () => {
          if (fail) throw new Error('no')
        },
      },
    )
    .catch(() => undefined)
}
