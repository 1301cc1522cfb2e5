import { Server as NetServer } from 'node:net'
import type { AnyServer, Connection } from './connection.ts'
import { followHttp1 } from './http1-connections.ts'
import { followHttp2 } from './http2-connections.ts'

/** The connections of one server, from its start to its end. */
export interface ServerConnections {
  /** Requests in progress. */
  readonly requests: number
  /** Open WebSocket connections. */
  readonly webSockets: number
  /** Answers tell clients from now on that their connection will not be kept. */
  announceClose(): void
  /**
   * Stops listening and resolves when nothing is open: requests in progress are answered, event streams and WebSockets
   * are ended, and connections without a request are closed last, when they have been idle for `graceMs`.
   */
  drain(graceMs: number): Promise<void>
  /** Breaks off what is still open. */
  destroy(): void
  /** Removes all listeners. */
  release(): void
}

/** Milliseconds between two looks at what has begun while the server drains. */
const drainInterval = 100

/** Begins to follow the connections of a server; it should be called before the server listens. */
export function followServer(server: AnyServer): ServerConnections {
  let announced = false
  let graceMs: number | undefined
  let onEnded: (() => void)[] = []
  let look: NodeJS.Timeout | undefined

  const onOpened = (connection: Connection): void => {
    if (announced) connection.announceClose()
    // It was waiting to be accepted when the server stopped listening; a request on it is still answered.
    if (graceMs !== undefined) connection.drain(graceMs)
  }
  const onClosed = (): void => {
    if (graceMs === undefined || open() > 0) return
    for (const resolve of onEnded) resolve()
    onEnded = []
  }
  const followers = [followHttp1(server, onOpened, onClosed), followHttp2(server, onOpened, onClosed)]
  const connections = (): Connection[] => followers.flatMap((follower) => [...follower.connections])
  const open = (): number => followers.reduce((sum, follower) => sum + follower.connections.size, 0)
  const drainAll = (): void => {
    for (const connection of connections()) connection.drain(graceMs ?? 0)
  }

  return {
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
    drain(grace) {
      graceMs ??= grace
      stopListening(server)
      drainAll()
      look ??= setInterval(drainAll, drainInterval)
      if (open() === 0) return Promise.resolve()
      return new Promise((resolve) => onEnded.push(resolve))
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

/** Stops listening and leaves all connections alone: the `close` of an HTTP server would cut idle ones off at once. */
function stopListening(server: AnyServer): void {
  if (server.listening) NetServer.prototype.close.call(server)
}

/** @throws TypeError for what is no server, e.g. an Express application. */
export function assertServer(server: unknown): asserts server is AnyServer {
  if (server instanceof NetServer) return
  const given = typeof server === 'function' ? 'a function, as an Express application is' : typeof server
  throw new TypeError(
    `gracefulShutdown: needs a server of node:http, node:https or node:http2, which app.listen() returns; this is ${given}.`,
  )
}
