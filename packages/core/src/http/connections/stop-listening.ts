import { Server } from 'node:net'

/** Stops listening and leaves all connections alone: the `close` of an HTTP server would cut idle ones off at once. */
export function stopListening(server: Server): void {
  if (server.listening) Server.prototype.close.call(server)
}
