import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { channel, createHub, createPublisher } from '@quintet/realtime'
import { createRealtimeClient } from '@quintet/realtime/client'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
const news = channel('news/:topic', { access: 'public', scope: 'global' })

// Over plain ws. In a Quintet process: websocket({ protocols: [channels({ redis, channels: [news] })] })
const hub = createHub({ redis, channels: [news], prefix: 'example' })
const server = createServer().on(
  'upgrade',
  (request, socket, head) => void hub.handleUpgrade(request, socket, head),
)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

const client = createRealtimeClient({ url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` })
const { promise: seen, resolve: onEvent } = Promise.withResolvers<unknown>()
await client.subscribe('news/weather', { onEvent }).ready

// From any process: a queue worker, an outbox relay, a script.
await createPublisher({ redis, channels: [news], prefix: 'example' }).publish(
  'news/weather',
  { tenantId: null },
  { text: 'Snow' },
)
console.log(await seen)

client.close()
await hub.close()
server.close()
redis.disconnect()
