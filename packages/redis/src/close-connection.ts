import type { GuardedClient } from './guarded-redis.ts'

/**
 * Closes a connection for good. With `drain`, commands already sent are answered first: the server
 * answers `QUIT` after them, and the command timeout bounds the wait.
 */
export async function closeConnection(
  connection: GuardedClient,
  { drain }: { readonly drain: boolean },
): Promise<void> {
  if (connection.status === 'end') return
  const ended = new Promise<void>((resolve) => {
    connection.once('end', resolve)
  })
  const waiting = connection.status === 'reconnecting' || connection.status === 'close'
  const quit = drain && connection.status === 'ready' ? connection.quit().catch(() => undefined) : undefined
  connection.seal()
  if (quit !== undefined) await quit
  connection.disconnect()
  // Between two attempts there is no socket whose end could be reported.
  if (!waiting) await ended
}
