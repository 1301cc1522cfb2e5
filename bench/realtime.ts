import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { channel, createHub, createPublisher } from '@quintet/realtime'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { io, type Socket } from 'socket.io-client'
import { WebSocket, WebSocketServer } from 'ws'
import { startRedis } from '../packages/orchestrator/src/infrastructure.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'delivery-cpu-ws': {
    about: 'CPU of one delivery to one of 500 subscribers, clients included',
    better: 'lower',
  },
  'delivery-rate-ws': { about: 'deliveries to 500 subscribers', better: 'higher' },
  'delivery-cpu-socket-io': {
    about: 'CPU of one delivery beside Socket.IO, clients included',
    better: 'lower',
  },
  'delivery-rate-socket-io': { about: 'deliveries beside Socket.IO', better: 'higher' },
}

const subscribers = 500
const events = 40
const rounds = 5
const payload = { text: 'x'.repeat(150) }

/** How long it takes until every subscriber has every event, and the CPU time of this process for one delivery. */
interface Sample {
  readonly perSecond: number
  readonly cpu: number
}

/** A connected client, of whichever kind. */
interface Subscriber {
  on(event: 'message', listener: () => void): unknown
  off(event: 'message', listener: () => void): unknown
}

async function measure(sockets: readonly Subscriber[], send: () => Promise<unknown>): Promise<Sample> {
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

/** As many clients of Socket.IO, over WebSocket from the start. */
async function dialSocketIo(url: string): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: subscribers }, async () => {
      const socket = io(url, { transports: ['websocket'], forceNew: true, reconnection: false })
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve)
        socket.once('connect_error', reject)
      })
      return socket
    }),
  )
}

/**
 * One event through Redis, numbered and kept, to 500 subscribers of one process, against the same broadcast in memory over
 * bare `ws` and over Socket.IO. The clients run in the same process and their cost is in both.
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
  const ioHttp = createServer()
  const ioServer = new Server(ioHttp, { transports: ['websocket'] })
  const ioClients = await dialSocketIo((await listen(ioHttp)).replace('ws:', 'http:'))
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
    const emit = async (): Promise<void> => void ioServer.emit('message', payload)
    const samples: Record<'ours' | 'ws' | 'socket-io', Sample>[] = []
    for (let index = 0; index <= rounds; index++) {
      const sample = {
        ours: await measure(ours, publish),
        ws: await measure(theirs, broadcast),
        'socket-io': await measure(ioClients, emit),
      }
      // The first round warms up.
      if (index > 0) samples.push(sample)
    }
    const of = (side: keyof (typeof samples)[number], what: keyof Sample): number =>
      median(samples.map((sample) => sample[side][what]))
    for (const [peer, against] of [
      ['ws', 'a loop over bare ws'],
      ['socket-io', 'Socket.IO'],
    ] as const) {
      const [cpu, rate] = [of('ours', 'cpu'), of('ours', 'perSecond')]
      yield { name: `delivery-cpu-${peer}`, value: cpu, unit: 'us', against, ratio: cpu / of(peer, 'cpu') }
      yield {
        name: `delivery-rate-${peer}`,
        value: rate,
        unit: '/s',
        against,
        ratio: rate / of(peer, 'perSecond'),
      }
    }
  } finally {
    for (const socket of [...ours, ...theirs]) socket.terminate()
    for (const socket of ioClients) socket.disconnect()
    await ioServer.close()
    await hub.close()
    bare.close()
    http.close()
    bareHttp.close()
    redis.disconnect()
  }
}
