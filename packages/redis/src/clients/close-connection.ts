import type { Cluster, Redis } from 'ioredis'
import type { GuardedClient } from './guarded-redis.ts'

/**
 * Closes a connection for good. With `drain`, commands already sent are answered first: the server
 * answers `QUIT` after them, and the command timeout bounds the wait.
 */
export async function closeConnection(
  connection: GuardedClient,
  { drain }: { readonly drain: boolean },
): Promise<void> {
  const quit = drain && connection.status === 'ready' ? connection.quit().catch(() => undefined) : undefined
  connection.seal()
  if (quit !== undefined) await quit
  await endConnection(connection)
}

/** Disconnects, and resolves when the socket is closed. */
export async function endConnection(connection: Redis | Cluster): Promise<void> {
  if (connection.status === 'end') return
  const ended = new Promise<void>((resolve) => {
    connection.once('end', resolve)
  })
  // Between two attempts there is no socket whose end could be reported.
  const betweenAttempts = connection.status === 'reconnecting' || connection.status === 'close'
  connection.disconnect()
  if (!betweenAttempts) await ended
}
