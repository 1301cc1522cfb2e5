import { Redis } from 'ioredis'
import { redisUrl } from '@quintet/test-kit'
import { createRedisClients } from '../../src/index.ts'
import type { RedisClients, ServerRedisClientsOptions } from '../../src/index.ts'

/** A plain ioredis client of the shared server, on a database that only these tests use. */
export function plainClient(url: string = redisUrl(), db = 5): Redis & AsyncDisposable {
  const client = new Redis(url, { db, maxRetriesPerRequest: 0 })
  client.on('error', () => undefined)
  return Object.assign(client, {
    async [Symbol.asyncDispose]() {
      client.disconnect()
    },
  })
}

/** Clients whose commands wait for long, for tests that are not about that: the machine may be busy. */
export function patientClients<Name extends string>(
  options: ServerRedisClientsOptions<Name>,
): Promise<RedisClients<Name>> {
  return createRedisClients({ commandTimeout: '20s', connectTimeout: '20s', ...options })
}

let serial = 0

/** A prefix that no other test uses. */
export function uniquePrefix(): string {
  return `test:${process.pid}:${Date.now().toString(36)}:${++serial}:`
}
