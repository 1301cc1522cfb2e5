import { Server, type Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long a turn of the event loop takes at most that has nothing to do, in milliseconds. */
const shortTurn = 0.2

/** How long connections are accepted that have not ceased to come, in milliseconds. */
const longest = 500

/**
 * Stops listening and leaves all connections alone: the `close` of an HTTP server would cut idle ones off at once. Closing
 * a socket resets the connections that wait to be accepted, and Node accepts one in a turn of the event loop: they are
 * accepted first. None is read until then, or its answer would bring the next one.
 */
export async function stopListening(server: Server): Promise<void> {
  if (!server.listening) return
  const held: Socket[] = []
  let accepted = false
  const hold = (socket: Socket): void => {
    accepted = true
    // The socket beneath TLS belongs to the one above it.
    if (server instanceof TlsServer) return
    held.push(socket)
    // Not before the server has begun to read it.
    process.nextTick(() => socket.pause())
  }
  server.on('connection', hold)
  // The first turn may have begun behind the place where connections are accepted.
  await nextTurn()
  const end = performance.now() + longest
  let begin: number
  do {
    accepted = false
    begin = performance.now()
    await nextTurn()
    // In a long turn another one may have come behind that place.
  } while ((accepted || performance.now() - begin > shortTurn) && begin < end)
  server.off('connection', hold)
  if (server.listening) Server.prototype.close.call(server)
  for (const socket of held) socket.resume()
}
