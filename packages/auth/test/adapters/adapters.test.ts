import { generateKeyPairSync, hash, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, SignJWT } from 'jose'
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { connect as connectSocket, type AddressInfo, type Socket } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { Redis } from 'ioredis'
import { WebSocket, WebSocketServer } from 'ws'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Principal, QuintetError } from '@quintet/core'
import type { AuthenticateOptions, Credentials } from '@quintet/core/kit'
import { expressAuth, expressErrors } from '../../src/adapters/express.ts'
import { fastifyAuth, fastifyErrors, principalOf } from '../../src/adapters/fastify.ts'
import { fetchAuth } from '../../src/adapters/fetch.ts'
import { honoAuth, honoErrors, type AuthEnvironment } from '../../src/adapters/hono.ts'
import { nodeAuth, nodeFacts, type AuthenticatorOptions } from '../../src/adapters/node.ts'
import { upgradeAuth } from '../../src/adapters/ws.ts'
import {
  AuthError,
  cookieNames,
  createSessionCookies,
  guard,
  type RequestFacts,
  type SessionCookies,
  type SessionTokens,
} from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { until } from '@quintet/test-kit'
import { deriveSecrets } from '../../src/secrets.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
let auth: TestAuth
let cookies: SessionCookies
beforeAll(async () => {
  redis = connect()
  auth = await createTestAuth({
    redis,
    authority: { maxSessionsPerUser: 1_000 },
    manager: { watchInterval: 20 },
  })
  cookies = createSessionCookies({
    csrfSecret: auth.secrets.csrf,
    origins: ['https://app.test'],
    refreshPath: '/session/refresh',
    clock: auth.clock,
  })
})
afterAll(async () => {
  await auth.close()
  redis.disconnect()
})

interface Served {
  readonly port: number
  close(): Promise<void>
}
interface Listening extends Served {
  connections(): Promise<number>
}
type Serve = (options: AuthenticatorOptions) => Promise<Served>

const show = ({ userId, tenantId, kind }: Principal): object => ({ userId, tenantId, kind })

async function listen(server: Server): Promise<Listening> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Serves a handler of Web requests on node:http, as the runtime of a framework would. */
function serveFetch(handler: (request: Request) => Promise<Response> | Response): Promise<Served> {
  const server = createServer(async (incoming, outgoing) => {
    const headers = new Headers()
    for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
      headers.append(incoming.rawHeaders[index] ?? '', incoming.rawHeaders[index + 1] ?? '')
    }
    const url = `http://${incoming.headers.host}${incoming.url}`
    if (!URL.canParse(url)) return void outgoing.writeHead(400).end()
    const response = await handler(new Request(url, { method: incoming.method ?? 'GET', headers }))
    outgoing.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text())
  })
  return listen(server)
}

const adapters: Readonly<Record<string, Serve>> = {
  fetch: (options) => serveFetch(fetchAuth(options, (_request, principal) => Response.json(show(principal)))),
  hono: (options) => {
    const app = new Hono<AuthEnvironment>()
    app.use('/api/*', honoAuth(options))
    app.all('/api/me', (context) => context.json(show(context.get('principal'))))
    return serveFetch((request) => app.fetch(request))
  },
  node: (options) =>
    listen(
      createServer(
        nodeAuth(
          options,
          (_request, response, principal) => void response.end(JSON.stringify(show(principal))),
        ),
      ),
    ),
  express: (options) => {
    const app = express()
    app.use('/api', expressAuth(options))
    app.all(
      '/api/me',
      (_request, response) => void response.json(show(response.locals['principal'] as Principal)),
    )
    return listen(createServer(app))
  },
  fastify: async (options) => {
    const app = Fastify()
    app.addHook('onRequest', fastifyAuth(options))
    app.all('/api/me', async (request) => show(principalOf(request)))
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
  },
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Record<string, unknown>
}

/** Headers as a flat list, so that one can be sent twice. */
function call(
  port: number,
  headers: readonly string[] = [],
  options: { method?: string; path?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', path = '/api/me' } = options
    const sent = ['host', `127.0.0.1:${port}`, 'content-length', '0', ...headers]
    const outgoing = httpRequest({ port, host: '127.0.0.1', method, path, headers: sent }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
      })
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

const bearer = (tokens: SessionTokens): string[] => ['authorization', `Bearer ${tokens.accessToken}`]

/** What a browser sends back of the cookies that were set. */
function jar(tokens: SessionTokens): { cookie: string; csrf: string } {
  const pairs = cookies.set(tokens).map((line) => line.split(';')[0] ?? '')
  const sent = pairs.filter((pair) => !pair.startsWith(cookieNames.refresh))
  return {
    cookie: sent.join('; '),
    csrf: pairs.find((pair) => pair.startsWith(cookieNames.csrf))?.split('=')[1] ?? '',
  }
}

describe.each(Object.entries(adapters))('the %s adapter', (_name, serve) => {
  async function using<T>(
    options: Partial<AuthenticatorOptions>,
    use: (port: number) => Promise<T>,
  ): Promise<T> {
    const served = await serve({ manager: auth.manager, ...options })
    try {
      return await use(served.port)
    } finally {
      await served.close()
    }
  }

  it('lets a signed-in caller through, and tells the handler who it is', async () => {
    await using({}, async (port) => {
      const { status, body } = await call(port, bearer(await auth.signIn()))
      expect(status).toBe(200)
      expect(body).toEqual({ userId: 'alice', tenantId: auth.tenantId, kind: 'user' })
    })
  })

  it('challenges a caller without credentials, without an error', async () => {
    await using({ realm: 'media' }, async (port) => {
      const { status, headers, body } = await call(port)
      expect(status).toBe(401)
      expect(headers['www-authenticate']).toBe('Bearer realm="media"')
      expect(headers['content-type']).toContain('application/problem+json')
      expect(body).toMatchObject({ status: 401, code: 'ERR_AUTH_CREDENTIALS_MISSING' })
    })
  })

  it('answers each bad token with its code and invalid_token', async () => {
    const revoked = await auth.signIn()
    await auth.authority.revoke(revoked.session)
    const superseded = await auth.signIn()
    await auth.authority.refresh(superseded.refreshToken)
    const cold = await auth.token({ cnf: { fp: 'a'.repeat(43) } })
    await using({}, async (port) => {
      const cases: readonly [string, string][] = [
        ['x', 'ERR_AUTH_TOKEN_INVALID'],
        [revoked.accessToken, 'ERR_AUTH_SESSION_REVOKED'],
        [superseded.accessToken, 'ERR_AUTH_TOKEN_SUPERSEDED'],
        [cold, 'ERR_AUTH_SESSION_COLD'],
        [await auth.token({ exp: 1, iat: 0 }), 'ERR_AUTH_TOKEN_EXPIRED'],
      ]
      for (const [token, code] of cases) {
        const { status, headers, body } = await call(port, ['authorization', `bearer ${token}`])
        expect(status, code).toBe(401)
        expect(body['code']).toBe(code)
        expect(headers['www-authenticate']).toContain('Bearer realm="api", error="invalid_token"')
      }
    })
  })

  it('refuses credentials that are given twice or cannot be read, with 400', async () => {
    const tokens = await auth.signIn()
    const { cookie } = jar(tokens)
    await using({ cookies }, async (port) => {
      const twice = [
        [...bearer(tokens), ...bearer(tokens)],
        [...bearer(tokens), 'cookie', cookie],
        ['cookie', `${cookie}; ${cookieNames.access}=other`],
      ]
      for (const headers of twice) {
        const { status, body, headers: answered } = await call(port, headers)
        expect(status).toBe(400)
        expect(body['code']).toBe('ERR_AUTH_CREDENTIALS_AMBIGUOUS')
        expect(answered['www-authenticate']).toContain('error="invalid_request"')
      }
      for (const header of ['Bearer', `Bearer ${tokens.accessToken} x`, 'Bearer a,b', tokens.accessToken]) {
        const { status, body } = await call(port, ['authorization', header])
        expect([status, body['code']], header).toEqual([400, 'ERR_AUTH_CREDENTIALS_MALFORMED'])
      }
    })
  })

  it('takes credentials of another scheme for none, beside a cookie too', async () => {
    const { cookie } = jar(await auth.signIn())
    await using({ cookies }, async (port) => {
      const alone = await call(port, ['authorization', 'Basic YTpi'])
      expect([alone.status, alone.headers['www-authenticate']]).toEqual([
        401,
        expect.stringMatching(/^Bearer/),
      ])
      expect((await call(port, ['authorization', 'Basic YTpi', 'cookie', cookie])).status).toBe(200)
    })
  })

  it('takes no token from the query', async () => {
    const { accessToken } = await auth.signIn()
    await using({}, async (port) => {
      expect((await call(port, [], { path: `/api/me?access_token=${accessToken}` })).status).toBe(401)
    })
  })

  it('keeps the access rule', async () => {
    await using({ access: { roles: ['admin'] } }, async (port) => {
      const { status, headers, body } = await call(port, bearer(await auth.signIn()))
      expect([status, body['code']]).toEqual([403, 'ERR_AUTH_FORBIDDEN'])
      expect(headers['www-authenticate']).toContain('error="insufficient_scope"')
      expect((await call(port, bearer(await auth.signIn({ roles: ['admin'] })))).status).toBe(200)
    })
    await using({ access: 'public' }, async (port) => {
      expect((await call(port)).body['kind']).toBe('anonymous')
      expect((await call(port, ['authorization', 'Bearer bad'])).body['kind']).toBe('anonymous')
    })
  })

  it('takes a cookie, and for a change the CSRF token with it', async () => {
    const tokens = await auth.signIn()
    const other = jar(await auth.signIn())
    const { cookie, csrf } = jar(tokens)
    await using({ cookies }, async (port) => {
      const post = (...headers: string[]): Promise<Answer> => call(port, headers, { method: 'POST' })
      expect((await call(port, ['cookie', cookie])).status).toBe(200)
      expect((await post('cookie', cookie, 'x-csrf-token', csrf)).status).toBe(200)
      const refused = [
        await post('cookie', cookie),
        await post('cookie', cookie, 'x-csrf-token', 'x'),
        await post('cookie', cookie, 'x-csrf-token', csrf, 'x-csrf-token', csrf),
        await post('cookie', cookie.replace(csrf, other.csrf), 'x-csrf-token', other.csrf),
        await post('cookie', cookie.replace(csrf, 'a.b'), 'x-csrf-token', 'a.b'),
      ]
      for (const { status, body } of refused)
        expect([status, body['code']]).toEqual([403, 'ERR_AUTH_CSRF_REFUSED'])
      expect((await call(port, bearer(tokens), { method: 'POST' })).status).toBe(200)
    })
    await using({}, async (port) => {
      expect((await call(port, ['cookie', cookie])).status).toBe(401)
    })
  })

  it('answers 503 with Retry-After when the session cannot be checked, never 401', async () => {
    const down = connect('redis://127.0.0.1:1')
    const broken = await createTestAuth({ redis: down })
    const tokens = await broken.token({ cnf: { fp: 'a'.repeat(43) } })
    await using({ manager: broken.manager }, async (port) => {
      const { status, headers, body } = await call(port, ['authorization', `Bearer ${tokens}`])
      expect([status, body['code']]).toEqual([503, 'ERR_AUTH_UNAVAILABLE'])
      expect(headers['retry-after']).toBe('1')
      expect(headers['www-authenticate']).toBeUndefined()
    })
    await broken.close()
    down.disconnect()
  })

  it('demands a proof of possession under the DPoP scheme', async () => {
    await using({ origin: 'https://api.test' }, async (port) => {
      const { status, headers, body } = await call(port, ['authorization', 'DPoP abc'])
      expect([status, body['code']]).toEqual([401, 'ERR_AUTH_DPOP_INVALID'])
      expect(headers['www-authenticate']).toContain('DPoP realm="api", error="invalid_dpop_proof"')
      const twice = await call(port, ['authorization', 'DPoP abc', 'dpop', 'x', 'dpop', 'y'])
      expect(twice.status).toBe(400)
    })
  })

  it('answers HEAD as GET, without a body', async () => {
    await using({}, async (port) => {
      const refused = await call(port, [], { method: 'HEAD' })
      expect([refused.status, refused.body]).toEqual([401, {}])
      expect(refused.headers['www-authenticate']).toBe('Bearer realm="api"')
      expect((await call(port, bearer(await auth.signIn()), { method: 'HEAD' })).status).toBe(200)
    })
  })

  it('tells nobody to cache a refusal, and gives its reason in one word', async () => {
    await using({}, async (port) => {
      const { headers, body } = await call(port, ['authorization', 'Bearer x'])
      expect(headers['cache-control']).toBe('no-store')
      expect(body).toEqual({
        type: 'about:blank',
        kind: 'unauthenticated',
        title: 'Unauthorized',
        status: 401,
        detail: 'The access token was not accepted.',
        code: 'ERR_AUTH_TOKEN_INVALID',
        details: { reason: 'invalid' },
      })
    })
  })

  it('survives whatever an access rule throws', async () => {
    const thrown: readonly [unknown, number][] = [
      [new Error('no database at 10.0.0.1'), 500],
      [
        new QuintetError('Nicht für dich “…”\r\nset-cookie: a=b', { code: 'ERR_APP_X', kind: 'forbidden' }),
        403,
      ],
      [undefined, 500],
    ]
    for (const [error, expected] of thrown) {
      const access = guard('throws', () => {
        throw error
      })
      await using({ access, realm: 'ä"\n' }, async (port) => {
        const { status, headers, body } = await call(port, bearer(await auth.signIn()))
        expect(status).toBe(expected)
        expect(headers['set-cookie']).toBeUndefined()
        expect(JSON.stringify(body)).not.toContain('10.0.0.1')
        if (expected === 403) expect(headers['www-authenticate']).toMatch(/^Bearer realm="", error="[ -~]+$/)
      })
    }
  })

  it('takes a request for any host and target as it comes', async () => {
    const tokens = await auth.signIn()
    await using({ origin: 'https://api.test' }, async (port) => {
      for (const host of ['', 'a b', '[::', 'evil.test/x', 'h:99999', 'ü']) {
        const socket = connectSocket(port, '127.0.0.1')
        const authorization = `authorization: Bearer ${tokens.accessToken}`
        const lines = [`GET /api/me HTTP/1.1`, `host: ${host}`, authorization, 'connection: close']
        socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
        const [first] = (await text(socket)).split('\r\n')
        // Servers may refuse such a host themselves; what they let through is nobody's failure.
        expect(first, host).toMatch(/^HTTP\/1\.1 (?:200|400|404)/)
      }
    })
  })

  it('refuses options that it does not know', async () => {
    const start = async (options: object): Promise<unknown> => await serve(options as AuthenticatorOptions)
    const { manager } = auth
    await expect(start({ manager, acess: 'public' })).rejects.toThrow('Did you mean "access"?')
    await expect(start({ manager: {} })).rejects.toThrow('manager')
    await expect(start({ manager, access: 'everybody' })).rejects.toThrow('no access rule')
    await expect(start({ manager, freshness: 'lax' })).rejects.toThrow('freshness')
    for (const origin of ['api.test', 'ftp://api.test', 'https://api.test/x', 'https://me@api.test'])
      await expect(start({ manager, origin })).rejects.toThrow('is not an origin')
  })
})

async function text(socket: Socket): Promise<string> {
  let all = ''
  socket.setEncoding('utf8')
  for await (const chunk of socket) all += String(chunk)
  return all
}

describe('the facts of a request of Node', () => {
  const facts = (target: string, host: string | undefined): string => {
    const request = { method: 'GET', url: target, headers: { host }, rawHeaders: [], socket: {} }
    return nodeFacts(request as unknown as Parameters<typeof nodeFacts>[0]).url
  }

  it('have an address that is always a URL, of the host that was asked and no other', () => {
    expect(facts('/a?b=c', 'api.test:8080')).toBe('http://api.test:8080/a?b=c')
    expect(facts('//evil.test/a', 'api.test')).toBe('http://api.test//evil.test/a')
    expect(facts('http://evil.test/a?b', 'api.test')).toBe('http://api.test/a?b')
    expect(facts('*', 'api.test')).toBe('http://api.test/')
    for (const host of [undefined, '', 'a b', 'x/y', '[::']) {
      expect(facts('/a', host)).toBe('http://unknown.invalid/a')
    }
  })
})

describe('HTTP/2', () => {
  it('is read by the Node and the Fastify adapter', async () => {
    const tokens = await auth.signIn()
    const plain = createHttp2Server((request, response) => {
      const handler = nodeAuth(
        { manager: auth.manager },
        (_request, answer, principal) => void answer.end(principal.userId),
      )
      void handler(request as never, response as never)
    })
    const fastify = Fastify({ http2: true })
    fastify.addHook('onRequest', fastifyAuth({ manager: auth.manager }))
    fastify.get('/', async (request) => principalOf(request).userId)
    await fastify.ready()
    for (const server of [plain, fastify.server]) {
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
      const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
      const ask = async (headers: Record<string, string | string[]>): Promise<[unknown, string]> => {
        const stream = client.request({ ':path': '/', ...headers })
        const status = new Promise((resolve) => stream.on('response', (head) => resolve(head[':status'])))
        let body = ''
        for await (const chunk of stream) body += String(chunk)
        return [await status, body]
      }
      expect(await ask({ authorization: `Bearer ${tokens.accessToken}` })).toEqual([200, 'alice'])
      expect((await ask({}))[0]).toBe(401)
      client.close()
    }
    await fastify.close()
    await new Promise((resolve) => plain.close(resolve))
  })
})

describe('origin and freshness', () => {
  it('are what a proof of possession must be made for, and what the manager is asked for', async () => {
    const seen: unknown[] = []
    const manager = {
      authenticate: async (credentials: unknown, options: AuthenticateOptions): Promise<Principal> => {
        seen.push(credentials, options.freshness)
        throw new Error('seen')
      },
    }
    const served = await (adapters['node'] as Serve)({
      manager,
      origin: 'https://api.test',
      freshness: 'strict',
    })
    await call(served.port, ['authorization', 'DPoP abc', 'dpop', 'p'], { path: '/api/me?x=1' })
    await served.close()
    expect(seen).toEqual([
      { scheme: 'dpop', token: 'abc', proof: 'p', method: 'GET', url: 'https://api.test/api/me?x=1' },
      'strict',
    ])
  })
})

describe('session cookies', () => {
  it('are bound to the host and to TLS, and the refresh token to its path', async () => {
    const [access, refresh, csrf] = cookies.set(await auth.signIn())
    expect(access).toMatch(/^__Host-access=[^;]+; Path=\/; Max-Age=300; Secure; HttpOnly; SameSite=Lax$/)
    expect(refresh).toMatch(
      /^__Secure-refresh=v1~[^;]+; Path=\/session\/refresh; Max-Age=604800; Secure; HttpOnly; SameSite=Strict$/,
    )
    expect(csrf).toMatch(/^__Host-csrf=[^;]+; Path=\/; Max-Age=604800; Secure; SameSite=Strict$/)
    expect(cookies.clear().every((line) => line.includes('Max-Age=0'))).toBe(true)
    expect(() => createSessionCookies({ csrfSecret: 'short' })).toThrow('32 bytes')
    expect(() =>
      createSessionCookies({ csrfSecret: auth.secrets.csrf, refreshPath: 'x; Domain=evil' }),
    ).toThrow('path')
    expect(() =>
      createSessionCookies({ csrfSecret: auth.secrets.csrf, origins: ['https://app.test/x'] }),
    ).toThrow('is not an origin')
    expect(() => createSessionCookies({ csrfSecret: auth.secrets.csrf, orgins: [] } as never)).toThrow(
      'origins',
    )
  })
})

describe('session cookies of a former path', () => {
  it('give way to the newest, and are taken away', async () => {
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    const moved = createSessionCookies({
      csrfSecret: auth.secrets.csrf,
      refreshPath: '/session',
      formerRefreshPaths: ['/session/refresh'],
      clock: auth.clock,
    })
    const [, , csrf = ''] = moved.set(second)
    const [token] = csrf.split(';')
    for (const [one, other] of [
      [first, second],
      [second, first],
    ] as const) {
      const sent = [one, other].map(({ refreshToken }) => `${cookieNames.refresh}=${refreshToken}`)
      const headers: Record<string, string[]> = { cookie: [[...sent, token].join('; ')] }
      const request: RequestFacts = {
        method: 'POST',
        url: 'https://app.test/session/refresh',
        upgrade: false,
        address: undefined,
        header: (name) => headers[name] ?? [],
      }
      expect(moved.refreshToken(request)).toBe(second.refreshToken)
    }
    for (const lines of [moved.set(second), moved.clear()])
      expect(lines).toContainEqual(
        expect.stringMatching(/^__Secure-refresh=; Path=\/session\/refresh; Max-Age=0/),
      )
  })
})

describe('session cookies of a former root secret', () => {
  const [old, present] = [deriveSecrets('o'.repeat(32)), deriveSecrets('n'.repeat(32), 'o'.repeat(32))]
  const requestWith = (set: readonly string[]): RequestFacts => {
    const cookie = set.map((line) => line.split(';')[0]).join('; ')
    const csrf = /__Host-csrf=([^;]+)/.exec(cookie)?.[1] ?? ''
    const headers: Record<string, string[]> = { cookie: [cookie], 'x-csrf-token': [csrf] }
    return {
      method: 'POST',
      url: 'https://app.test/x',
      upgrade: false,
      address: undefined,
      header: (name) => headers[name] ?? [],
    }
  }

  it('go on working where it is named, and nowhere else', async () => {
    const tokens = await auth.signIn()
    const request = requestWith(createSessionCookies({ csrfSecret: old.csrf }).set(tokens))
    const renewed = createSessionCookies({
      csrfSecret: present.csrf,
      previousSecrets: present.previous.map(({ csrf }) => csrf),
    })
    expect(renewed.refreshToken(request)).toBe(tokens.refreshToken)
    expect(() => renewed.assertSameSite(request, tokens.session.sessionId)).not.toThrow()
    const without = createSessionCookies({ csrfSecret: present.csrf })
    expect(() => without.refreshToken(request)).toThrow()
    expect(() => without.assertSameSite(request, tokens.session.sessionId)).toThrow()
  })
})

describe('the ws adapter', () => {
  let served: Listening
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => [...offered][0] ?? false,
  })
  beforeAll(async () => {
    const upgrade = upgradeAuth({ manager: auth.manager, cookies })
    const server = createServer()
    server.on('upgrade', async (request, socket, head) => {
      const principal = await upgrade.admit(request, socket)
      if (principal === undefined) return
      sockets.handleUpgrade(request, socket, head, (ws) => {
        upgrade.guard(ws, principal)
        ws.send(JSON.stringify(show(principal)))
      })
    })
    served = await listen(server)
  })
  afterAll(async () => {
    for (const client of sockets.clients) client.terminate()
    sockets.close()
    await served.close()
  })

  const open = (protocols: string[], headers: Record<string, string> = {}): WebSocket =>
    new WebSocket(`ws://127.0.0.1:${served.port}/ws`, protocols, { headers })

  async function outcome(socket: WebSocket): Promise<unknown> {
    return await new Promise((resolve, reject) => {
      socket.on('message', (data) => resolve(JSON.parse(String(data))))
      socket.on('unexpected-response', (_request, response) => {
        response.resume()
        resolve(response.statusCode)
      })
      socket.on('error', reject)
    })
  }

  it('takes the token from the header, a subprotocol entry or the cookie of a known origin', async () => {
    const tokens = await auth.signIn()
    const { cookie } = jar(tokens)
    const ways = [
      () => open([], { authorization: `Bearer ${tokens.accessToken}` }),
      () => open(['app.v1', `bearer.${tokens.accessToken}`]),
      () => open([], { cookie, origin: 'https://app.test' }),
    ]
    for (const way of ways) {
      const socket = way()
      expect(await outcome(socket)).toEqual({ userId: 'alice', tenantId: auth.tenantId, kind: 'user' })
      socket.terminate()
    }
  })

  it('refuses the handshake of anybody else', async () => {
    const tokens = await auth.signIn()
    const { cookie } = jar(tokens)
    const token = `bearer.${tokens.accessToken}`
    expect(await outcome(open([]))).toBe(401)
    expect(await outcome(open(['bearer.x']))).toBe(401)
    expect(await outcome(open([], { cookie, origin: 'https://evil.test' }))).toBe(403)
    expect(await outcome(open([], { cookie }))).toBe(403)
    expect(await outcome(open([token], { authorization: `Bearer ${tokens.accessToken}` }))).toBe(400)
  })

  it('closes the socket when its session ends', async () => {
    const tokens = await auth.signIn()
    const socket = open([`bearer.${tokens.accessToken}`])
    await outcome(socket)
    const closed = new Promise((resolve) =>
      socket.on('close', (code, reason) => resolve([code, String(reason)])),
    )
    await auth.authority.revoke(tokens.session)
    expect(await closed).toEqual([4401, 'revoked'])
  })

  it('hears nothing more from a client whose session has ended, and cuts off one that does not close', async () => {
    const tokens = await auth.signIn()
    const socket = open([`bearer.${tokens.accessToken}`])
    await outcome(socket)
    const [here] = [...sockets.clients].filter(({ readyState }) => readyState === WebSocket.OPEN).slice(-1)
    const heard: string[] = []
    here?.on('message', (data) => heard.push(String(data)))
    socket.send('before')
    await expect.poll(() => heard).toEqual(['before'])
    // A client that reads nothing answers no close.
    socket.pause()
    const gone = new Promise((resolve) => here?.on('close', resolve))
    await auth.authority.revoke(tokens.session)
    await expect.poll(() => here?.readyState).toBe(WebSocket.CLOSING)
    // An app that has waited for something before it listens.
    here?.on('message', (data) => heard.push(`late: ${String(data)}`))
    here?.once('message', (data) => heard.push(`late: ${String(data)}`))
    here?.addEventListener('message', ({ data }) => heard.push(`late: ${String(data)}`))
    socket.send('after')
    expect(await gone).toBe(1006)
    expect(heard).toEqual(['before'])
    socket.terminate()
  })

  const handshake = 'GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'

  it('closes the connection of whom it refuses, also if the client keeps it open', async () => {
    const socket = connectSocket({ port: served.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write(handshake)
    expect(await text(socket)).toMatch(
      /^HTTP\/1\.1 401 Unauthorized\r\n[\s\S]*"ERR_AUTH_CREDENTIALS_MISSING"/,
    )
    await expect.poll(() => served.connections()).toBe(0)
    socket.destroy()
  })

  it('survives clients that reset the connection at whatever moment', async () => {
    for (let delay = 0; delay < 30; delay++) {
      const socket = connectSocket(served.port, '127.0.0.1')
      socket.on('error', () => undefined)
      await new Promise<void>((resolve) => socket.once('connect', resolve))
      socket.write(handshake)
      for (let turn = 0; turn < delay % 6; turn++) await new Promise((resolve) => setImmediate(resolve))
      socket.resetAndDestroy()
    }
    expect(await outcome(open([]))).toBe(401)
  })

  it('has a listener for the failures of a connection that it has refused', async () => {
    const upgrade = upgradeAuth({ manager: auth.manager })
    const server = createServer()
    const own = await listen(server)
    const refused = new Promise<Socket>((resolve) => {
      server.on('upgrade', async (request, socket) => {
        expect(await upgrade.admit(request, socket)).toBeUndefined()
        resolve(socket as Socket)
      })
    })
    const client = connectSocket(own.port, '127.0.0.1')
    client.write(handshake)
    const socket = await refused
    socket.emit('error', new Error('read ECONNRESET'))
    expect(socket.destroyed).toBe(true)
    client.destroy()
    await own.close()
  })

  it('survives a client that leaves during the handshake', async () => {
    const socket = connectSocket(served.port, '127.0.0.1')
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    socket.write(handshake)
    socket.destroy()
    expect(await outcome(open([]))).toBe(401)
  })
})

/** What a handler has decided about the answer that it then did not give. */
const begun = {
  'content-length': '5',
  'content-encoding': 'gzip',
  'set-cookie': 'a=b',
  etag: '"x"',
  'cache-control': 'public, max-age=60',
  'access-control-allow-origin': '*',
}

/** Every adapter in front of a handler that begins an answer and throws what it is told. */
const throwing: Readonly<
  Record<string, (thrown: () => unknown, onError: (error: unknown) => unknown) => Promise<Served>>
> = {
  fetch: (thrown, onError) =>
    serveFetch(
      fetchAuth({ manager: auth.manager, access: 'public', onError }, () => {
        throw thrown()
      }),
    ),
  hono: (thrown, onError) => {
    const app = new Hono<AuthEnvironment>()
    app.onError(honoErrors({ onError }))
    app.use('/api/*', honoAuth({ manager: auth.manager, access: 'public' }))
    app.all('/api/me', (context) => {
      for (const [name, value] of Object.entries(begun)) context.res.headers.set(name, value)
      throw thrown()
    })
    return serveFetch((request) => app.fetch(request))
  },
  node: (thrown, onError) =>
    listen(
      createServer(
        nodeAuth({ manager: auth.manager, access: 'public', onError }, async (_request, response) => {
          await Promise.resolve()
          for (const [name, value] of Object.entries(begun)) response.setHeader(name, value)
          throw thrown()
        }),
      ),
    ),
  express: (thrown, onError) => {
    const app = express()
    app.use('/api', expressAuth({ manager: auth.manager, access: 'public' }))
    app.all('/api/me', (_request, response) => {
      response.set(begun)
      throw thrown()
    })
    app.use(expressErrors({ onError }))
    return listen(createServer(app))
  },
  fastify: async (thrown, onError) => {
    const app = Fastify()
    app.setErrorHandler(fastifyErrors({ onError }))
    app.addHook('onRequest', fastifyAuth({ manager: auth.manager, access: 'public' }))
    app.all('/api/me', (_request, reply) => {
      reply.headers(begun)
      throw thrown()
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
  },
}

describe.each(Object.keys(throwing))('a handler behind the %s adapter that throws', (adapter) => {
  const reported: unknown[] = []
  let listen: (error: unknown) => unknown = (error) => reported.push(error)
  let thrown: unknown
  let served: Served
  beforeAll(async () => {
    served = await (throwing[adapter] as (typeof throwing)[string])(
      () => thrown,
      (error) => listen(error),
    )
  })
  afterAll(() => served.close())

  it('a refused refresh is answered with its status and challenge', async () => {
    const refused = await auth.authority.refresh('no token').catch((error: unknown) => error)
    thrown = refused
    const { status, headers, body } = await call(served.port)
    expect(status).toBe(401)
    expect(headers['content-type']).toContain('application/problem+json')
    expect(headers['www-authenticate']).toContain('error="invalid_token"')
    expect(body).toMatchObject({ code: 'ERR_AUTH_REFRESH_INVALID', status: 401 })
    expect(reported).toEqual([])
  })

  it.each([
    ['not-found', 404],
    ['conflict', 409],
    ['too-large', 413],
    ['rate-limited', 429],
  ] as const)('an error of kind %s is answered with %i', async (kind, expected) => {
    thrown = new QuintetError('told to the caller', { code: 'ERR_TEST_X', kind })
    const { status, body } = await call(served.port)
    expect([status, body['detail']]).toEqual([expected, 'told to the caller'])
  })

  it('anything else is answered with 500, without a word of it or of the answer that was begun, and reported', async () => {
    thrown = new Error('the secret of the house')
    const { status, headers, body } = await call(served.port)
    expect(status).toBe(500)
    expect(headers).toMatchObject({ 'cache-control': 'no-store' })
    for (const name of ['content-encoding', 'set-cookie']) expect(headers, name).not.toHaveProperty(name)
    // What was set for any answer, before the handler or by it.
    if (adapter !== 'fetch') expect(headers['access-control-allow-origin']).toBe('*')
    expect(JSON.stringify(body)).not.toContain('secret')
    expect(reported.splice(0)).toEqual([thrown])
  })

  it.each([
    ['rejects', () => Promise.reject(new Error('the listener is broken'))],
    [
      'throws',
      () => {
        throw new Error('the listener is broken')
      },
    ],
  ])('an onError that %s costs neither the answer nor the process', async (_how, broken) => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    thrown = new Error('the secret of the house')
    listen = broken
    const { status, body } = await call(served.port)
    expect([status, JSON.stringify(body).includes('broken')]).toEqual([500, false])
    await vi.waitFor(() =>
      expect(logged.mock.calls.flat()).toContainEqual(new Error('the listener is broken')),
    )
    expect(logged.mock.calls.flat()).toContain(thrown)
    logged.mockRestore()
  })
})

it('the node adapter refuses behind a listener that has begun an answer', async () => {
  const guarded = nodeAuth({ manager: auth.manager }, (_request, response) => void response.end())
  const served = await listen(
    createServer((request, response) => {
      for (const [name, value] of Object.entries(begun)) response.setHeader(name, value)
      void guarded(request, response)
    }),
  )
  const { status, headers, body } = await call(served.port)
  expect([status, body['code']]).toEqual([401, 'ERR_AUTH_CREDENTIALS_MISSING'])
  expect(headers).toMatchObject({ 'access-control-allow-origin': '*', 'cache-control': 'no-store' })
  expect(headers).not.toHaveProperty('set-cookie')
  await served.close()
})

describe('the hono adapter behind a fetched answer, whose headers cannot be changed,', () => {
  let upstream: Listening
  beforeAll(async () => {
    upstream = await listen(
      createServer((_request, response) => {
        response.writeHead(200, { ...begun, 'content-encoding': 'identity' })
        response.end('alien')
      }),
    )
  })
  afterAll(() => upstream.close())
  const fetched = (): Promise<Response> => fetch(`http://127.0.0.1:${upstream.port}/`)

  it.each([
    ['a proxied one', fetched],
    ['a redirect', () => Response.redirect('https://app.test/')],
  ])('answers an error that comes after %s', async (_what, route) => {
    const app = new Hono()
    app.onError(honoErrors())
    app.use(async (_context, next) => {
      await next()
      throw new AuthError('ERR_AUTH_SESSION_REVOKED')
    })
    app.get('/', route)
    await expectRefused(await app.request('/'), 'ERR_AUTH_SESSION_REVOKED')
  })

  it('refuses callers', async () => {
    const app = new Hono<AuthEnvironment>()
    app.use(async (context, next) => {
      context.res = await fetched()
      await next()
    })
    app.use(honoAuth({ manager: auth.manager }))
    app.get('/', (context) => context.text('the secret'))
    await expectRefused(await app.request('/'), 'ERR_AUTH_CREDENTIALS_MISSING')
  })

  async function expectRefused(answer: Response, code: string): Promise<void> {
    expect([answer.status, await answer.json()]).toMatchObject([401, { code }])
    for (const name of ['set-cookie', 'location', 'content-encoding'])
      expect(answer.headers.get(name), name).toBeNull()
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect(answer.headers.get('www-authenticate')).toContain('Bearer')
  }
})

it('the fastify adapter takes a proof for the URL that was asked for, where it is rewritten', async () => {
  const asked: string[] = []
  const manager = {
    authenticate: async (credentials: Credentials) => {
      if (credentials.scheme === 'dpop') asked.push(credentials.url)
      throw new AuthError('ERR_AUTH_DPOP_INVALID')
    },
  }
  const app = Fastify({ rewriteUrl: (request) => (request.url ?? '').replace('/v1', '') })
  app.addHook('onRequest', fastifyAuth({ manager, origin: 'https://api.test' }))
  app.get('/me', () => 'me')
  await app.inject({ url: '/v1/me', headers: { authorization: 'DPoP abc', dpop: 'x' } })
  expect(asked).toEqual(['https://api.test/v1/me'])
})

it('what a framework refuses itself keeps its status', async () => {
  const app = express()
  app.use(express.json())
  app.use(expressErrors())
  const served = await listen(createServer(app))
  const answer = await fetch(`http://127.0.0.1:${served.port}/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([
    400,
    'application/problem+json; charset=utf-8',
  ])
  await served.close()
})

describe.each(Object.entries(adapters))('every way in, through %s', (_name, serve) => {
  it('that is public lets callers with stale credentials through as anonymous, also without Redis', async () => {
    const away = { authenticate: () => Promise.reject(new AuthError('ERR_AUTH_UNAVAILABLE')) }
    for (const manager of [auth.manager, away]) {
      const served = await serve({ manager, access: 'public', cookies })
      for (const headers of [
        ['authorization', 'Bearer stale'],
        ['cookie', `${cookieNames.access}=stale`],
        ['authorization', 'nothing known'],
      ])
        expect((await call(served.port, headers)).body).toMatchObject({ kind: 'anonymous' })
      await served.close()
    }
  })

  it('that is public refuses bad credentials where it is told to', async () => {
    const served = await serve({ manager: auth.manager, access: 'public', badCredentials: 'refuse' })
    expect((await call(served.port, ['authorization', 'Bearer stale'])).status).toBe(401)
    expect((await call(served.port)).status).toBe(200)
    await served.close()
  })

  it('takes no cookie of a page of another origin for a WebSocket', async () => {
    const served = await serve({ manager: auth.manager, cookies })
    const { accessToken } = await auth.signIn()
    const cookie = ['cookie', `${cookieNames.access}=${accessToken}`]
    const handshake = ['sec-websocket-key', 'AAAAAAAAAAAAAAAAAAAAAA==', 'sec-websocket-version', '13']
    const evil = ['origin', 'https://evil.test']
    expect((await call(served.port, cookie)).status).toBe(200)
    expect((await call(served.port, [...cookie, ...handshake, ...evil])).status).toBe(403)
    expect((await call(served.port, [...cookie, ...handshake])).status).toBe(403)
    const own = ['origin', 'https://app.test']
    expect((await call(served.port, [...cookie, ...handshake, ...own])).status).toBe(200)
    await served.close()
  })

  it('takes no cookie whose name begins with white space that a browser does not strip', async () => {
    const served = await serve({ manager: auth.manager, cookies })
    const { accessToken } = await auth.signIn()
    expect((await call(served.port, ['cookie', `\xa0${cookieNames.access}=${accessToken}`])).status).toBe(401)
    expect((await call(served.port, ['cookie', `a=b;\t${cookieNames.access}=${accessToken} `])).status).toBe(
      200,
    )
    await served.close()
  })

  it('takes a proof for the URL that clients know, and for no other host', async () => {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const publicJwk = key.publicKey.export({ format: 'jwk' })
    const jkt = await calculateJwkThumbprint(publicJwk as never)
    const { accessToken } = await auth.signIn({ jkt })
    const prove = (htu: string): Promise<string> =>
      new SignJWT({ htm: 'GET', htu, ath: hash('sha256', accessToken, 'base64url') })
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: { ...publicJwk, ext: true } as never })
        .setIssuedAt(Math.floor(auth.clock.now() / 1_000))
        .setJti(randomUUID())
        .sign(key.privateKey)
    const status = async (options: Partial<AuthenticatorOptions>, htu: string, more: string[] = []) => {
      const served = await serve({ manager: auth.manager, ...options })
      const url = htu.replace('HOST', `127.0.0.1:${served.port}`)
      const headers = ['authorization', `DPoP ${accessToken}`, 'dpop', await prove(url), ...more]
      const answer = await call(served.port, headers)
      await served.close()
      return answer.status
    }
    const origin = 'https://api.test'
    // Without an origin the proof would be compared with the Host header, which is the client's word.
    expect(await status({}, 'http://HOST/api/me')).toBe(401)
    expect(await status({ origin }, 'http://HOST/api/me')).toBe(401)
    expect(await status({ origin }, `${origin}/api/me`)).toBe(200)
    expect(await status({ origin, prefix: '/x/media' }, `${origin}/x/media/api/me`)).toBe(200)
    expect(await status({ origin, prefix: '/x/media' }, `${origin}/api/me`)).toBe(401)
    // From whoever is no trusted proxy, the header says nothing.
    const forwarded = ['x-forwarded-prefix', '/x/media']
    expect(await status({ origin }, `${origin}/x/media/api/me`, forwarded)).toBe(401)
    // Where a request does not say by itself where it comes from, the app must.
    const isWeb = _name === 'fetch' || _name === 'hono'
    const proxies = { origin, trustedProxies: ['127.0.0.0/8', '::1'] }
    if (isWeb)
      expect(() => serve({ manager: auth.manager, ...proxies })).toThrow('trustedProxies: needs "address"')
    const trusting = { ...proxies, ...(isWeb ? { address: () => '127.0.0.1' } : {}) }
    expect(await status(trusting, `${origin}/x/media/api/me`, forwarded)).toBe(200)
    // Of several values the one of the nearest proxy counts, as for the apps and the gateway.
    const farther = ['x-forwarded-prefix', '/evil', ...forwarded]
    expect(await status(trusting, `${origin}/x/media/api/me`, farther)).toBe(200)
    expect(await status(trusting, `${origin}/evil/api/me`, farther)).toBe(401)
    if (!isWeb) return
    const elsewhere = { ...proxies, address: () => '192.0.2.1' }
    expect(await status(elsewhere, `${origin}/x/media/api/me`, forwarded)).toBe(401)
  })
})

describe('a WebSocket that is guarded', () => {
  const fakeSocket = (readyState = 1) => {
    const closed: string[] = []
    return {
      closed,
      readyState,
      close: (_code: number, reason: string) => void closed.push(reason),
      terminate: () => undefined,
      once: () => undefined,
      emit: () => true,
    }
  }
  const upgrade = () => upgradeAuth({ manager: auth.manager })
  const caller = (tokens: SessionTokens): Promise<Principal> =>
    auth.manager.authenticate({ scheme: 'bearer', token: tokens.accessToken })

  it('goes on under the token of a refresh, and ends with the session', async () => {
    const first = await auth.signIn()
    const socket = fakeSocket()
    const guarded = upgrade().guard(socket, await caller(first))
    const second = await auth.authority.refresh(first.refreshToken)
    expect(await guarded.renew(second.accessToken)).toEqual(await caller(second))
    const third = await auth.authority.refresh(second.refreshToken)
    await until(() => superseded(auth.manager, second))
    await guarded.renew(third.accessToken)
    expect(socket.closed).toEqual([])
    await auth.authority.revoke(first.session)
    await until(() => socket.closed.length > 0)
    expect(socket.closed).toEqual(['revoked'])
  })

  it('ends with the session also while the new token is awaited', async () => {
    const first = await auth.signIn()
    const socket = fakeSocket()
    const ends: string[] = []
    const principal = await caller(first)
    upgrade().guard(socket, principal)
    auth.manager.watch(principal, (end) => ends.push(end))
    await auth.authority.refresh(first.refreshToken)
    await until(() => ends.includes('superseded'))
    expect(socket.closed).toEqual([])
    await auth.authority.revoke(first.session)
    await until(() => socket.closed.length > 0)
    expect(socket.closed).toEqual(['revoked'])
    expect(ends).toEqual(['superseded', 'revoked'])
  })

  it.each([2, 3])('is not watched when it has begun to close before (readyState %i)', async (readyState) => {
    let watches = 0
    const watching: typeof auth.manager = Object.assign(Object.create(auth.manager), {
      watch: () => {
        watches++
        return { [Symbol.dispose]: () => undefined }
      },
    })
    const principal = await caller(await auth.signIn())
    upgradeAuth({ manager: watching }).guard(fakeSocket(readyState), principal)
    expect(watches).toBe(0)
    upgradeAuth({ manager: watching }).guard(fakeSocket(), principal)
    expect(watches).toBe(1)
  })

  it('takes no token of another session, and none that is not accepted', async () => {
    const first = await auth.signIn()
    const socket = fakeSocket()
    const guarded = upgrade().guard(socket, await caller(first))
    const other = await auth.signIn()
    for (const token of [other.accessToken, 'none', first.accessToken.slice(0, -3)])
      await expect(guarded.renew(token)).rejects.toMatchObject({ code: 'ERR_AUTH_TOKEN_INVALID' })
    expect(guarded.principal.sessionId).toBe(first.session.sessionId)
  })

  async function superseded(manager: TestAuth['manager'], { accessToken }: SessionTokens): Promise<boolean> {
    const error = await manager
      .authenticate({ scheme: 'bearer', token: accessToken })
      .catch((thrown: unknown) => thrown)
    return error instanceof AuthError && error.code === 'ERR_AUTH_TOKEN_SUPERSEDED'
  }
})

describe('the refresh cookie', () => {
  const facts = (cookie: string): RequestFacts => ({
    method: 'POST',
    url: 'https://app.test/',
    header: (name) => (name === 'cookie' ? [cookie] : []),
    upgrade: false,
  })
  const pair = (set: readonly string[], name: string): string =>
    set.find((each) => each.startsWith(name))?.split(';')[0] ?? ''

  it('of another session that a subdomain has set is passed over', async () => {
    const own = cookies.set(await auth.signIn())
    const tossed = pair(cookies.set(await auth.signIn({ userId: 'mallory' })), cookieNames.refresh)
    const [refresh, csrf] = [pair(own, cookieNames.refresh), pair(own, cookieNames.csrf)]
    const token = refresh.slice(refresh.indexOf('=') + 1)
    expect(cookies.refreshToken(facts(`${refresh}; ${csrf}`))).toBe(token)
    expect(cookies.refreshToken(facts(`${tossed}; ${refresh}; ${csrf}`))).toBe(token)
    for (const cookie of [`${tossed}; ${csrf}`, tossed, refresh])
      expect(() => cookies.refreshToken(facts(cookie))).toThrow('CSRF')
    expect(cookies.refreshToken(facts(csrf))).toBeUndefined()
  })
})
