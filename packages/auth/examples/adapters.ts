import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import { WebSocket, WebSocketServer } from 'ws'
import { hasRole } from '@quintet/auth'
import { expressAuth } from '@quintet/auth/express'
import { fastifyAuth, principalOf } from '@quintet/auth/fastify'
import { fetchAuth } from '@quintet/auth/fetch'
import { honoAuth, type AuthEnvironment } from '@quintet/auth/hono'
import { nodeAuth } from '@quintet/auth/node'
import { createTestAuth } from '@quintet/auth/testing'
import { upgradeAuth } from '@quintet/auth/ws'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 0 })
const auth = await createTestAuth({ redis })
const { manager } = auth

// Web requests: whatever runtime or framework hands them over.
const handler = fetchAuth({ manager }, (_request, { userId }) => Response.json({ userId }))

// node:http, also of HTTP/2
const node = createServer(
  nodeAuth({ manager, access: hasRole('editor') }, (_request, response, { userId }) => {
    response.end(JSON.stringify({ userId }))
  }),
)

const expressApp = express()
expressApp.use(expressAuth({ manager }))
expressApp.get(
  '/',
  (_request, response) => void response.json({ userId: response.locals['principal'].userId }),
)

const fastify = Fastify()
fastify.addHook('onRequest', fastifyAuth({ manager }))
fastify.get('/', (request) => ({ userId: principalOf(request).userId }))

const hono = new Hono<AuthEnvironment>()
hono.use(honoAuth({ manager }))
hono.get('/', (context) => context.json({ userId: context.get('principal').userId }))

// ws: the handshake is refused with an HTTP answer, and the socket closes with 4401 when its session ends.
// A page hands its token over beside the protocol that is really spoken: new WebSocket(url, ['chat', `bearer.${token}`])
const upgrade = upgradeAuth({ manager })
const sockets = new WebSocketServer({
  noServer: true,
  handleProtocols: (names) => names.has('chat') && 'chat',
})
node.on('upgrade', async (request, socket, head) => {
  const principal = await upgrade.admit(request, socket)
  if (principal === undefined) return
  sockets.handleUpgrade(request, socket, head, (ws) => {
    upgrade.guard(ws, principal)
    ws.send(JSON.stringify({ userId: principal.userId }))
  })
})

// From here on: every one of them is called without and with a token.
const tokens = await auth.signIn({ roles: ['editor'] })
const authorization = `Bearer ${tokens.accessToken}`

async function show(
  name: string,
  call: (headers: Record<string, string>) => Promise<Response>,
): Promise<void> {
  const refused = await call({})
  const admitted = await call({ authorization })
  console.log(name, refused.status, refused.headers.get('www-authenticate'), await admitted.text())
}

async function serve(name: string, server: Server): Promise<void> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  await show(name, (headers) => fetch(url, { headers }))
}

await show('fetch', (headers) => handler(new Request('https://api.example.com/', { headers })))
await show('hono', async (headers) => await hono.request('/', { headers }))
await serve('node', node)
await serve('express', createServer(expressApp).unref())
await fastify.ready()
await serve('fastify', fastify.server)

const address = `ws://127.0.0.1:${(node.address() as AddressInfo).port}/`
const refused = new WebSocket(address, ['chat'])
const [, response] = (await once(refused, 'unexpected-response')) as [unknown, IncomingMessage]
const socket = new WebSocket(address, ['chat', `bearer.${tokens.accessToken}`])
const [message] = (await once(socket, 'message')) as [Buffer]
console.log('ws', response.statusCode, socket.protocol, String(message))
await auth.authority.revoke(tokens.session)
const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
console.log('ws', code, String(reason))

response.resume()
await fastify.close()
node.close()
await auth.close()
redis.disconnect()
