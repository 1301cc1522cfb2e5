import { open, readdir, stat } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createTestHost, testUser } from '@quintet/core/testing'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { channel, channels, createPublisher, type EventPosition } from '../../src/index.ts'
import { openTestSession, type TestSession } from '../support/session.ts'

const notices = channel('notices', { access: 'authenticated' })
const a = { tenantId: 'tenant-a' }

/** Goes back in time: what was published since `mark` is lost. */
interface TimeMachine {
  readonly name: string
  start(): Promise<{
    readonly url: string
    mark(): Promise<void>
    goBack(): Promise<void>
    stop(): Promise<void>
  }>
}

async function admin<T>(server: PrivateRedis, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(server.url)
  try {
    return await ask(redis)
  } finally {
    redis.disconnect()
  }
}

/** Passes connections on to a server that can be exchanged, as a name that follows the primary does. */
async function follow(port: number): Promise<{ server: Server; url: string; switchTo(port: number): void }> {
  let target = port
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = connect(target, '127.0.0.1')
    for (const each of [socket, upstream]) {
      sockets.add(each)
      each.on('error', () => undefined)
      each.once('close', () => {
        sockets.delete(each)
        socket.destroy()
        upstream.destroy()
      })
    }
    socket.pipe(upstream).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    server,
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    switchTo(next) {
      target = next
      for (const socket of sockets) socket.destroy()
    },
  }
}

const machines: readonly TimeMachine[] = [
  {
    name: 'restarts from an older snapshot',
    async start() {
      const server = await startPrivateRedis()
      return {
        url: server.url,
        mark: async () => void (await admin(server, (redis) => redis.save())),
        goBack: () => server.restart(),
        stop: () => server.stop(),
      }
    },
  },
  {
    name: 'restarts from an append-only file whose end is missing',
    async start() {
      const server = await startPrivateRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
      let file = ''
      let length = 0
      return {
        url: server.url,
        async mark() {
          const [, directory = ''] = (await admin(server, (redis) => redis.config('GET', 'dir'))) as string[]
          const folder = join(directory, 'appendonlydir')
          const name = (await readdir(folder)).find((each) => each.endsWith('.incr.aof')) ?? ''
          file = join(folder, name)
          length = (await stat(file)).size
        },
        async goBack() {
          await server.kill()
          const handle = await open(file, 'r+')
          await handle.truncate(length)
          await handle.close()
          await server.restart()
        },
        stop: () => server.stop(),
      }
    },
  },
  {
    name: 'is replaced by a replica that was behind',
    async start() {
      const primary = await startPrivateRedis()
      const replica = await startPrivateRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
      const proxy = await follow(primary.port)
      return {
        url: proxy.url,
        async mark() {
          const offset = async (server: PrivateRedis): Promise<string | undefined> =>
            /(?:master|slave)_repl_offset:(\d+)/.exec(
              await admin(server, (redis) => redis.info('replication')),
            )?.[1]
          await until(async () => {
            const [ours, theirs] = [await offset(primary), await offset(replica)]
            return ours !== undefined && ours === theirs
          })
          await admin(replica, (redis) => redis.replicaof('NO', 'ONE'))
        },
        async goBack() {
          await primary.kill()
          proxy.switchTo(replica.port)
        },
        async stop() {
          proxy.server.close()
          proxy.switchTo(0)
          await Promise.all([primary.stop(), replica.stop()])
        },
      }
    },
  },
]

describe.each(machines)('when Redis $name', ({ start }) => {
  const cleanups: (() => Promise<void> | void)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  })

  it('clients that stayed are told at once and get all new events, those that come back are told too', async () => {
    const machine = await start()
    cleanups.push(() => machine.stop())
    const redis = new Redis(machine.url, { retryStrategy: () => 30, maxRetriesPerRequest: null })
    redis.on('error', () => undefined)
    cleanups.push(() => redis.disconnect())
    const protocol = channels({ redis, channels: [notices] })
    const host = createTestHost({ tokens: { alice: testUser() } })
    await protocol.start?.(host)
    cleanups.push(async () => {
      await protocol.close?.()
      await host.close()
    })
    const connected = (): TestSession => openTestSession(protocol, host, 'alice')
    const sender = createPublisher({ redis, channels: [notices] })
    const publish = async (from: number, to: number): Promise<EventPosition | undefined> => {
      let position: EventPosition | undefined
      for (let event = from; event <= to; event++) position = await sender.publish('notices', a, event)
      return position
    }
    const resume = async (since: unknown): Promise<unknown> =>
      (await connected().ask({ type: 'subscribe', channel: 'notices', since }))['recovered']

    const stayed = connected()
    await stayed.ask({ type: 'subscribe', channel: 'notices' })
    const kept = await publish(1, 50)
    await machine.mark()
    const undone = await publish(51, 80)
    await until(() => stayed.events().length === 80)

    await machine.goBack()
    const lost = await until(() => stayed.messages.find((message) => message.type === 'lost'))
    expect(lost).toMatchObject({ offset: 50 })
    // Both a smaller head and, later, an offset that the lost history has had too.
    expect(await resume(undone)).toBe(false)
    await publish(101, 140)
    await until(() => stayed.events().length === 120)
    expect(stayed.events().slice(80)).toEqual(Array.from({ length: 40 }, (_, index) => 101 + index))
    expect(stayed.messages.filter((message) => message.type === 'lost')).toHaveLength(1)
    expect(await resume(undone)).toBe(false)
    expect(await resume(kept)).toBe(true)
  })
})
