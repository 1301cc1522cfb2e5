import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { channel, createHub, createPublisher } from '@quintet/realtime'
import { Redis } from 'ioredis'
import { WebSocket, WebSocketServer } from 'ws'
import { startRedis } from '../packages/orchestrator/src/infrastructure.ts'
import type { Figure } from './run.ts'

const subscribers = 500
const events = 40
const rounds = 5
const payload = { text: 'x'.repeat(150) }

/** How long it takes until every subscriber has every event, and the CPU time of this process for one delivery. */
interface Sample {
  readonly perSecond: number
  readonly cpu: number
}

async function measure(sockets: readonly WebSocket[], send: () => Promise<unknown>): Promise<Sample> {
  const expected = sockets.length * events
  let received = 0
  const { promise: all, resolve } = Promise.withResolvers<void>()
  const onMessage = (): void => {
    received += 1
    if (received === expected) resolve()
  }
  for (const socket of sockets) socket.on('message', onMessage)
  const begin = performance.now()
  const cpu = process.cpuUsage()
  await Promise.all(Array.from({ length: events }, send))
  await all
  const { user, system } = process.cpuUsage(cpu)
  for (const socket of sockets) socket.off('message', onMessage)
  return { perSecond: (expected * 1_000) / (performance.now() - begin), cpu: (user + system) / expected }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function dial(url: string, protocols: string[]): Promise<WebSocket[]> {
  return Promise.all(
    Array.from({ length: subscribers }, async () => {
      const socket = new WebSocket(url, protocols)
      await once(socket, 'open')
      return socket
    }),
  )
}

/**
 * One event through Redis, numbered and kept, to 500 subscribers of one process, against the same broadcast in memory over
 * bare `ws`. The clients run in the same process and their cost is in both.
 */
export default async function* realtime(): AsyncIterable<Figure> {
  await using server = await startRedis({ durable: false })
  const redis = new Redis(server.url)
  const news = channel('news', { access: 'public', scope: 'global' })
  const hub = createHub({ redis, channels: [news], keepAlive: '10m' })
  const http = createServer().on(
    'upgrade',
    (request, socket, head) => void hub.handleUpgrade(request, socket, head),
  )
  const bareHttp = createServer()
  const bare = new WebSocketServer({ server: bareHttp, perMessageDeflate: false })
  const ours = await dial(await listen(http), ['quintet.realtime.v1'])
  const theirs = await dial(await listen(bareHttp), [])
  try {
    await Promise.all(
      ours.map(async (socket) => {
        socket.send(JSON.stringify({ id: 1, type: 'subscribe', channel: 'news' }))
        await once(socket, 'message')
      }),
    )
    const publisher = createPublisher({ redis, channels: [news] })
    const publish = (): Promise<unknown> => publisher.publish('news', { tenantId: null }, payload)
    const broadcast = async (): Promise<void> => {
      const text = JSON.stringify({
        type: 'event',
        channel: 'news',
        epoch: 'abcdefgh',
        offset: 1,
        data: payload,
      })
      for (const socket of bare.clients) socket.send(text)
    }
    const samples: { ours: Sample; theirs: Sample }[] = []
    for (let index = 0; index <= rounds; index++) {
      const sample = { ours: await measure(ours, publish), theirs: await measure(theirs, broadcast) }
      // The first round warms up.
      if (index > 0) samples.push(sample)
    }
    const of = (side: 'ours' | 'theirs', what: keyof Sample): number =>
      median(samples.map((sample) => sample[side][what]))
    const against = 'a loop over bare ws'
    yield {
      name: 'cpu per delivery',
      value: of('ours', 'cpu'),
      unit: 'us',
      against,
      ratio: of('ours', 'cpu') / of('theirs', 'cpu'),
    }
    yield {
      name: 'deliveries',
      value: of('ours', 'perSecond'),
      unit: '/s',
      against,
      ratio: of('ours', 'perSecond') / of('theirs', 'perSecond'),
    }
  } finally {
    for (const socket of [...ours, ...theirs]) socket.terminate()
    await hub.close()
    bare.close()
    http.close()
    bareHttp.close()
    redis.disconnect()
  }
}
