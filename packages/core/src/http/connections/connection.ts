import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'

/** A server of `node:http`, `node:https` or `node:http2`: what `app.listen()` of Express returns, `app.server` of Fastify, or `serve()` of Hono. */
export type AnyServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer

/** One open connection, whatever it speaks. */
export interface Connection {
  /** Requests in progress. */
  readonly requests: number
  readonly isWebSocket: boolean
  /** Answers tell the client from now on that the connection will not be kept. */
  announceClose(): void
  /**
   * Ends the connection in order: event streams are ended, a WebSocket gets a close frame, requests in progress are
   * waited for, and what has been idle for `graceMs` is closed. May be called again for what has begun since, and with a
   * shorter grace.
   */
  drain(graceMs: number): void
  destroy(): void
}

/** The connections of a part of a server's protocols. */
export interface ConnectionFollower {
  readonly connections: ReadonlySet<Connection>
  /** Removes its listeners. */
  release(): void
}
