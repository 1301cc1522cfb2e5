import type { Cluster, Redis } from 'ioredis'
import type { GuardedClient } from './guarded-redis.ts'

/**
 * Closes a connection for good, in so many milliseconds at most. With `drain`, commands already sent are answered first:
 * the server answers `QUIT` after them.
 */
export async function closeConnection(
  connection: GuardedClient,
  { drain, within }: { readonly drain: boolean; readonly within: number },
): Promise<void> {
  const timer = setTimeout(() => destroySockets(connection), within)
  try {
    const quit = drain && connection.status === 'ready' ? connection.quit().catch(() => undefined) : undefined
    connection.seal()
    if (quit !== undefined) await quit
    await endConnection(connection)
  } finally {
    clearTimeout(timer)
  }
}

/** A server that is silent does not take leave of its clients. */
function destroySockets(connection: Redis | Cluster): void {
  connection.disconnect()
  const nodes = isCluster(connection) ? connection.nodes('all') : [connection]
  for (const { stream } of nodes) (stream as typeof stream | undefined)?.destroy()
}

function isCluster(connection: Redis | Cluster): connection is Cluster {
  return connection.isCluster
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
