import { randomBytes } from 'node:crypto'
import type { Transport } from '@quintet/core'
import type { RunningTransport } from '@quintet/core/kit'
import { createTestHost, type TestHost, type TestHostOptions } from '@quintet/core/testing'
import { redisUrl } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { createQueue, type Queue } from '../../src/index.ts'

export const secret = 'a-secret-of-more-than-32-characters!'

/** A queue with a prefix of its own on the shared Redis, and everything that was started on it. */
export interface Rig extends AsyncDisposable {
  readonly queue: Queue
  readonly redis: Redis
  host(options?: TestHostOptions): TestHost
  start(transport: Transport, host?: TestHost): Promise<RunningTransport>
}

export function createRig(url = redisUrl()): Rig {
  const redis = new Redis(url)
  redis.on('error', () => undefined)
  const prefix = `test-${randomBytes(5).toString('hex')}`
  const queue = createQueue({ connection: redis, secret, prefix })
  const hosts: TestHost[] = []
  const running: RunningTransport[] = []
  const host = (options?: TestHostOptions): TestHost => {
    const made = createTestHost(options)
    hosts.push(made)
    return made
  }
  return {
    queue,
    redis,
    host,
    async start(transport, on = host()) {
      const started = await transport.start(on)
      running.push(started)
      return started
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(running.map((each) => each.close()))
      for (const each of hosts) await each.close()
      await queue.close()
      redis.disconnect()
      await removeKeys(url, prefix)
    },
  }
}

/** By a client of its own, which gives up at once: a test may have killed the server, and then nothing is left. */
async function removeKeys(url: string, prefix: string): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    commandTimeout: 2_000,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const keys = await client.keys(`${prefix}:*`)
    if (keys.length > 0) await client.del(...keys)
  } catch {
    // The server is gone.
  } finally {
    client.disconnect()
  }
}
