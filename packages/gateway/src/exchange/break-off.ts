import type { ServerResponse } from 'node:http'

/**
 * Ends an answer without its rest: the connection breaks as soon as the answers before it have been written. HTTP/1.0
 * knows no other end of an answer than that of its connection, so there it is reset.
 */
export function breakOff(response: ServerResponse): void {
  if (response.destroyed) return
  const queued = !response.socket
  if (response.headersSent && response.req.httpVersion !== '1.1') response.socket?.resetAndDestroy()
  response.destroy()
  // Node says nothing of one that still waits for its turn.
  if (queued) response.emit('close')
}
