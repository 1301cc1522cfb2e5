import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** The connections of one server: which are at work, and how they end. */
export interface Connections {
  readonly draining: boolean
  /** Whether an answer is being made for this connection. */
  isAnswering(socket: Socket): boolean
  /** Calls a long answer when the drain begins. */
  onDrain(listener: () => void): void
  offDrain(listener: () => void): void
  /** Follows one answer, so that its connection is known to be at work until it is sent. */
  track(request: IncomingMessage, response: ServerResponse): void
  /** Closes each connection as soon as it has nothing to do; resolves when none is left or the signal aborts. */
  drain(signal: AbortSignal): Promise<void>
  /** Ends all connections at once. */
  destroy(): void
}

/**
 * Tracks the sockets of a server, because Node's own `close()` lets a busy keep-alive connection serve
 * further requests and waits for silent ones for ever.
 */
export function trackConnections(server: Server): Connections {
  const sockets = new Set<Socket>()
  const answering = new Map<Socket, number>()
  const listeners = new Set<() => void>()
  let draining = false
  let onEmpty: (() => void) | undefined

  server.on('connection', (socket) => {
    if (draining) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      answering.delete(socket)
      if (sockets.size === 0) onEmpty?.()
    })
  })

  return {
    get draining() {
      return draining
    },
    isAnswering: (socket) => answering.has(socket),
    onDrain(listener) {
      if (draining) listener()
      else listeners.add(listener)
    },
    offDrain(listener) {
      listeners.delete(listener)
    },
    track(request, response) {
      const { socket } = request
      answering.set(socket, (answering.get(socket) ?? 0) + 1)
      response.once('close', () => {
        const left = (answering.get(socket) ?? 1) - 1
        if (left > 0) {
          answering.set(socket, left)
          return
        }
        answering.delete(socket)
        // An answer whose headers were sent before the drain promised to keep the connection.
        if (draining) socket.destroySoon()
      })
    },
    async drain(signal) {
      draining = true
      for (const listener of listeners) listener()
      // Requests that have arrived already are read in this turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve))
      for (const socket of sockets) {
        if (!answering.has(socket)) socket.destroySoon()
      }
      if (sockets.size === 0 || signal.aborted) return
      await new Promise<void>((resolve) => {
        onEmpty = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    destroy() {
      draining = true
      for (const socket of sockets) socket.destroy()
    },
  }
}
