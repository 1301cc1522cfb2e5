import type { ServerResponse } from 'node:http'

/** Ends an answer without its rest: the connection breaks as soon as the answers before it have been written. */
export function breakOff(response: ServerResponse): void {
  if (response.destroyed) return
  const queued = !response.socket
  response.destroy()
  // Node says nothing of one that still waits for its turn.
  if (queued) response.emit('close')
}
