import type { Logger } from '@quintet/core'
import type { Cluster, Redis } from 'ioredis'

/** A client of one Redis or of a Redis Cluster. */
export type RedisClient = Redis | Cluster

/** Also for a client of another installed copy of ioredis. */
export function isCluster(client: RedisClient): client is Cluster {
  return client.isCluster
}

/** The connections of a worker. */
export interface WaitingConnection {
  readonly connection: RedisClient
  /** Disconnects it, and those that BullMQ has made of it. */
  close(): void
}

/** A server that answers nothing for so long is gone; BullMQ waits for jobs for 10 seconds at most. */
const silenceLimit = 15_000

/**
 * Opens a connection for commands that wait on the server, like the given one, but it never gives up on a command,
 * queues them while the server is away, and takes a connection that has gone silent for lost.
 */
export function openWaitingConnection(given: RedisClient, logger: Logger): WaitingConnection {
  let closed = false
  const opened: RedisClient[] = []
  const retryStrategy = (times: number): number | null => (closed ? null : Math.min(times * 100, 2_000))
  const waiting = { maxRetriesPerRequest: null, enableOfflineQueue: true, socketTimeout: silenceLimit }
  const connection = isCluster(given)
    ? given.duplicate([], {
        redisOptions: waiting,
        enableOfflineQueue: true,
        lazyConnect: true,
        clusterRetryStrategy: retryStrategy,
      })
    : given.duplicate({ ...waiting, lazyConnect: true, retryStrategy })
  // A duplicate takes no undefined in the place of a number.
  const options = isCluster(connection) ? (connection.options.redisOptions ?? {}) : connection.options
  delete options.commandTimeout
  // BullMQ makes a further connection of it, and leaves it open when Redis is away.
  const duplicate = connection.duplicate.bind(connection) as (...args: unknown[]) => RedisClient
  connection.duplicate = ((...args: unknown[]) => {
    const made = duplicate(...args)
    opened.push(made)
    return made
  }) as never
  connection.on('error', (error: Error) =>
    logger.warn({ err: error }, 'a worker has lost its connection to Redis'),
  )
  return {
    connection,
    close() {
      closed = true
      for (const each of [connection, ...opened]) each.disconnect()
    },
  }
}
