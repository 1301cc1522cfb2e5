import type { Socket } from 'node:net'
import type { AnyServer, Connection } from './connection.ts'
import { followHttp1 } from './http1-connections.ts'
import { followHttp2 } from './http2-connections.ts'
import { stopListening } from './stop-listening.ts'

/** The connections of one server, from its start to its end. */
export interface Connections {
  /** Open connections, those included whose TLS handshake is in progress. */
  readonly size: number
  /** Requests in progress. */
  readonly requests: number
  /** Open WebSocket connections. */
  readonly webSockets: number
  /** Whether a request is in progress on a socket that speaks HTTP/1.1. */
  isAnswering(socket: Socket): boolean
  /** Leaves a connection to another owner, such as a hub of WebSockets, who ends it; it counts no more. */
  handOver(socket: Socket): void
  /** Answers tell clients from now on that their connection will not be kept. */
  announceClose(): void
  /**
   * Stops listening and resolves when nothing is open, or the signal aborts: requests in progress are answered, event
   * streams and WebSockets are ended, and connections without a request are closed last, when they have been idle for
   * `graceMs`. Another call may shorten that.
   */
  drain(graceMs: number, signal?: AbortSignal): Promise<void>
  /** Breaks off what is still open. */
  destroy(): void
  /** Removes all listeners. */
  release(): void
}

export interface TrackConnectionsOptions {
  /** A drain ends answers of type `text/event-stream`. Without it their owner ends them. @defaultValue true */
  readonly eventStreams?: boolean
}

/** Milliseconds between two looks at what has begun while the server drains. */
const drainInterval = 100

/**
 * Tracks the connections of a server of `node:http`, `node:https` or `node:http2`, because Node's own `close()` lets a
 * busy keep-alive connection serve further requests and waits for silent ones for ever. To be called before it listens.
 *
 * @example
 * const connections = trackConnections(server)
 * // at the end
 * connections.announceClose()
 * await connections.drain(1_000, AbortSignal.timeout(10_000))
 * connections.destroy()
 */
export function trackConnections(
  server: AnyServer,
  { eventStreams = true }: TrackConnectionsOptions = {},
): Connections {
  let announced = false
  let graceMs: number | undefined
  const onEnded = new Set<() => void>()
  let look: NodeJS.Timeout | undefined

  const onOpened = (connection: Connection): void => {
    if (announced) connection.announceClose()
    // It was waiting to be accepted when the server stopped listening; a request on it is still answered.
    if (graceMs !== undefined) connection.drain(graceMs)
  }
  const onClosed = (): void => {
    if (graceMs === undefined || open() > 0) return
    for (const finish of onEnded) finish()
  }
  const http1 = followHttp1(server, eventStreams, onOpened, onClosed)
  const followers = [http1, followHttp2(server, eventStreams, onOpened, onClosed)]
  const connections = (): Connection[] => followers.flatMap((follower) => [...follower.connections])
  const open = (): number => followers.reduce((sum, follower) => sum + follower.connections.size, 0)
  const drainAll = (): void => {
    for (const connection of connections()) connection.drain(graceMs ?? 0)
  }

  return {
    get size() {
      return open()
    },
    isAnswering: http1.isAnswering,
    handOver: http1.handOver,
    get requests() {
      return connections().reduce((sum, { requests }) => sum + requests, 0)
    },
    get webSockets() {
      return connections().filter(({ isWebSocket }) => isWebSocket).length
    },
    announceClose() {
      announced = true
      for (const connection of connections()) connection.announceClose()
    },
    async drain(grace, signal) {
      graceMs = Math.min(graceMs ?? grace, grace)
      drainAll()
      await stopListening(server)
      if (open() === 0 || signal?.aborted) return
      look ??= setInterval(drainAll, drainInterval)
      await new Promise<void>((resolve) => {
        const finish = (): void => {
          signal?.removeEventListener('abort', finish)
          onEnded.delete(finish)
          if (onEnded.size === 0) look = clearInterval(look) as undefined
          resolve()
        }
        onEnded.add(finish)
        signal?.addEventListener('abort', finish, { once: true })
      })
    },
    destroy() {
      clearInterval(look)
      for (const connection of connections()) connection.destroy()
      // Also ends the timers with which Node checks the connections of a server.
      server.close()
    },
    release() {
      clearInterval(look)
      for (const follower of followers) follower.release()
    },
  }
}
