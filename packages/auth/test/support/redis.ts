import { Redis } from 'ioredis'
import { redisUrl } from '@quintet/test-kit'

/** A client on a server, of the shared one if none is named. Fails fast, as a session client should. */
export function connect(url: string = redisUrl()): Redis {
  const client = new Redis(url, {
    commandTimeout: 300,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: true,
    retryStrategy: () => 20,
  })
  client.on('error', () => undefined)
  return client
}
