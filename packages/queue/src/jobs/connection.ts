import type { Logger } from '@quintet/core'
import type { Redis } from 'ioredis'

/** The connection of a worker. */
export interface WaitingConnection {
  readonly connection: Redis
  /** Disconnects it, if it was made here. */
  close(): void
}

/**
 * A connection for commands that wait on the server: the given one if it never gives up on a command, else a further
 * one like it that queues commands while the server is away and never times out.
 */
export function openWaitingConnection(given: Redis, logger: Logger): WaitingConnection {
  if (given.options.maxRetriesPerRequest === null) return { connection: given, close: () => undefined }
  const connection = given.duplicate({
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    lazyConnect: true,
  })
  // A duplicate takes no undefined in the place of a number.
  delete connection.options.commandTimeout
  delete connection.options.socketTimeout
  connection.on('error', (error: Error) =>
    logger.warn({ err: error }, 'a worker has lost its connection to Redis'),
  )
  return { connection, close: () => connection.disconnect() }
}
