import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** The connections of one server: which are at work, and how they end. */
export interface Connections {
  readonly draining: boolean
  /** Calls a long answer when the drain begins. */
  onDrain(listener: () => void): void
  offDrain(listener: () => void): void
  /** Follows one answer, so that its connection is known to be at work until it is sent. */
  track(request: IncomingMessage, response: ServerResponse): void
  /** Leaves a connection to somebody else, who ends it. */
  release(socket: Socket): void
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
  const sockets = new Map<Socket, { answers: number }>()
  const listeners = new Set<() => void>()
  let draining = false
  let onEmpty: (() => void) | undefined

  server.on('connection', (socket) => {
    if (draining) {
      socket.destroy()
      return
    }
    sockets.set(socket, { answers: 0 })
    socket.once('close', () => forget(socket))
  })

  const forget = (socket: Socket): void => {
    sockets.delete(socket)
    if (sockets.size === 0) onEmpty?.()
  }

  const onAnswered = function (this: ServerResponse): void {
    const { socket } = this.req
    const state = sockets.get(socket)
    if (state === undefined) return
    state.answers--
    // An answer whose headers were sent before the drain promised to keep the connection.
    if (draining && state.answers === 0) socket.destroySoon()
  }

  return {
    get draining() {
      return draining
    },
    onDrain(listener) {
      if (draining) listener()
      else listeners.add(listener)
    },
    offDrain(listener) {
      listeners.delete(listener)
    },
    track(request, response) {
      const state = sockets.get(request.socket)
      if (state === undefined) return
      state.answers++
      response.on('close', onAnswered)
    },
    release: forget,
    async drain(signal) {
      draining = true
      for (const listener of listeners) listener()
      // Requests that have arrived already are read in this turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve))
      for (const [socket, { answers }] of sockets) {
        if (answers === 0) socket.destroySoon()
      }
      if (sockets.size === 0 || signal.aborted) return
      await new Promise<void>((resolve) => {
        onEmpty = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    destroy() {
      draining = true
      for (const socket of sockets.keys()) socket.destroy()
    },
  }
}
