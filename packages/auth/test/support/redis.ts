import { Redis } from 'ioredis'
import { redisUrl } from '@quintet/test-kit'

/** A client on a server, of the shared one if none is named. Does not hold commands back while it is not connected. */
export function connect(url: string = redisUrl()): Redis {
  const client = new Redis(url, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: true,
    retryStrategy: () => 20,
  })
  client.on('error', () => undefined)
  return client
}
