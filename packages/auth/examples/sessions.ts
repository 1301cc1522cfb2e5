import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import { createSessionCookies, tokenAnswer, tokenResponse, type RequestFacts } from '@quintet/auth'
import { expressErrors } from '@quintet/auth/express'
import { fastifyErrors } from '@quintet/auth/fastify'
import { fetchAuth, fetchFacts } from '@quintet/auth/fetch'
import { honoErrors } from '@quintet/auth/hono'
import { nodeAuth, nodeFacts } from '@quintet/auth/node'
import { createTestAuth } from '@quintet/auth/testing'
import { QuintetError } from '@quintet/core'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 0 })
const auth = await createTestAuth({ redis })
const { authority, manager, clock, tenantId } = auth
const cookies = createSessionCookies({ csrfSecret: auth.secrets.csrf, refreshPath: '/session', clock })

interface Credentials {
  readonly account: string
  readonly password: string
}

/** What clients send is checked before it is used; with a schema library in one line. */
function readCredentials(body: unknown): Credentials {
  const { account, password } = Object(body) as Partial<Record<keyof Credentials, unknown>>
  if (typeof account === 'string' && typeof password === 'string') return { account, password }
  throw new QuintetError('Send an account and a password.', {
    code: 'ERR_APP_CREDENTIALS',
    kind: 'invalid-input',
  })
}

/** Your users: made and verified with a maintained library (Argon2id). */
const users = {
  create: async ({ account }: Credentials) => ({ userId: account }),
  verify: async ({ account }: Credentials) => ({ userId: account }),
}

// What all frameworks share: the facts of a request and its body in, a body and cookies out.
type Answer = readonly [body: unknown, cookies: readonly string[]]

const routes = {
  async '/sign-up'(_: RequestFacts, body: unknown): Promise<Answer> {
    const { userId } = await users.create(readCredentials(body))
    const tokens = await authority.signIn({ userId, tenantId, amr: ['pwd'] })
    return [{ userId }, cookies.set(tokens)]
  },
  async '/sign-in'(request: RequestFacts, body: unknown): Promise<Answer> {
    const given = readCredentials(body)
    const { account } = given
    const deviceToken = cookies.deviceToken(request)
    const attempt = await authority.admitSignIn({ account, address: request.address, deviceToken })
    const { userId } = await users.verify(given)
    const device = cookies.setDevice(await attempt.succeeded())
    const tokens = await authority.signIn({ userId, tenantId, amr: ['pwd'] })
    return [{ userId }, [...cookies.set(tokens), device]]
  },
  async '/session/refresh'(request: RequestFacts): Promise<Answer> {
    const tokens = await authority.refresh(cookies.refreshToken(request) ?? '')
    return [{ expiresIn: tokens.expiresIn }, cookies.set(tokens)]
  },
  async '/session/sign-out'(request: RequestFacts): Promise<Answer> {
    await authority.signOut(cookies.refreshToken(request) ?? '')
    return [{}, cookies.clear()]
  },
}
const routeAt = (path: string) =>
  Object.hasOwn(routes, path) ? routes[path as keyof typeof routes] : undefined

// Web requests
const handler = fetchAuth({ manager, access: 'public' }, async (request) => {
  const route = routeAt(new URL(request.url).pathname)
  if (route === undefined) return new Response(null, { status: 404 })
  return tokenResponse(...(await route(fetchFacts(request), await request.json())))
})

// node:http
const node = createServer(
  nodeAuth({ manager, access: 'public' }, async (request, response) => {
    const route = routeAt(request.url ?? '')
    if (route === undefined) return void response.writeHead(404).end()
    const { headers, body } = tokenAnswer(...(await route(nodeFacts(request), await json(request))))
    response.writeHead(200, headers).end(body)
  }),
)

const expressApp = express().use(express.json())
const fastify = Fastify().setErrorHandler(fastifyErrors())
const hono = new Hono().onError(honoErrors())
for (const [path, route] of Object.entries(routes)) {
  expressApp.post(path, async (request, response) => {
    const { headers, body } = tokenAnswer(...(await route(nodeFacts(request), request.body)))
    response.set(headers).send(body)
  })
  fastify.post(path, async (request, reply) => {
    const { headers, body } = tokenAnswer(
      ...(await route(nodeFacts(request.raw), request.body as Credentials)),
    )
    return reply.headers(headers).send(body)
  })
  hono.post(path, async (context) =>
    tokenResponse(...(await route(fetchFacts(context.req.raw), await context.req.json()))),
  )
}
expressApp.use(expressErrors())

// From here on: a browser signs up, signs in, refreshes and signs out with each of them.
async function browse(
  name: string,
  send: (path: string, init: RequestInit) => Promise<Response>,
): Promise<void> {
  const jar = new Map<string, string>()
  const statuses = []
  for (const path of ['/sign-up', '/sign-in', '/session/refresh', '/session/sign-out', '/session/refresh']) {
    const cookie = [...jar].map((pair) => pair.join('=')).join('; ')
    const response = await send(path, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/json' },
      body: JSON.stringify({ account: name, password: 'correct horse' }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [key = '', value = ''] = (line.split(';')[0] ?? '').split(/=(.*)/s)
      if (value === '') jar.delete(key)
      else jar.set(key, value)
    }
    statuses.push(response.status, response.headers.get('cache-control'))
  }
  console.log(name, [...new Set(statuses)].join(' '))
}

async function serve(name: string, server: Server): Promise<void> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await browse(name, (path, init) => fetch(url + path, init))
  server.close()
}

await browse('fetch', (path, init) => handler(new Request(`https://api.example.com${path}`, init)))
await browse('hono', async (path, init) => await hono.request(path, init))
await serve('node', node)
await serve('express', createServer(expressApp))
await fastify.listen({ host: '127.0.0.1', port: 0 })
await serve('fastify', fastify.server)
await fastify.close()
await auth.close()
redis.disconnect()
