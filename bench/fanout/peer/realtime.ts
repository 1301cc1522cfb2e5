import { Redis } from 'ioredis'
import { WebSocketServer, type WebSocket } from 'ws'
import { createServer, createVerifier, listen, redis, settings } from './app.ts'
import { consume } from './events.ts'

const caller = createVerifier()
const app = createServer()
const members = new Map<string, Set<WebSocket>>()
const sockets = new WebSocketServer({ noServer: true })

app.server.on('upgrade', (request, socket, head) => {
  void caller({ headers: request.headers } as never).then(
    ({ tenantId }) =>
      sockets.handleUpgrade(request, socket, head, (client) => {
        const group = members.get(tenantId) ?? new Set()
        members.set(tenantId, group.add(client))
        client.on('close', () => group.delete(client))
      }),
    () => socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n'),
  )
})

const subscriber = new Redis(settings.redisUrl)
await subscriber.subscribe('peer:events')
subscriber.on('message', (_, text) => {
  const { tenantId, event } = JSON.parse(text) as { tenantId: string; event: unknown }
  for (const client of members.get(tenantId) ?? [])
    client.send(JSON.stringify({ type: 'event', data: event }))
})
consume('announce', async ({ data: { topic, occurredAt, data, caller: who } }) => {
  await redis.publish(
    'peer:events',
    JSON.stringify({ tenantId: who.tenantId, event: { topic, occurredAt, data } }),
  )
})
await listen(app)
