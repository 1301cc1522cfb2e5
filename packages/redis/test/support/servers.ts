import { Redis } from 'ioredis'
import { redisUrl } from '@quintet/test-kit'

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

let serial = 0

/** A prefix that no other test uses. */
export function uniquePrefix(): string {
  return `test:${process.pid}:${Date.now().toString(36)}:${++serial}:`
}
