import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

/** Backpressure: no more is read of a client while more than the limit waits to be sent to it. */
export function pauseWhileFull(client: WebSocket, socket: Duplex, limit: number): void {
  if (client.isPaused || client.bufferedAmount <= limit) return
  client.pause()
  const resume = (): void => {
    socket.off('drain', resume)
    socket.off('close', resume)
    client.resume()
  }
  socket.on('drain', resume)
  socket.on('close', resume)
}
