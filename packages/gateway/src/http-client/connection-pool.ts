import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { AnswerHead } from './answer-head.ts'
import { delayWriteErrors } from './delay-write-errors.ts'
import {
  UpstreamConnection,
  type ConnectionEvents,
  type UpstreamHandler,
  type UpstreamRequest,
} from './connection.ts'
import { UpstreamFailure } from './upstream-failure.ts'

export interface ConnectionPoolOptions {
  /** How long an upstream may take to accept a connection, in milliseconds; 0 for any time. */
  readonly connectTimeout: number
  /** How long a connection is kept where its upstream says nothing about that, in milliseconds. */
  readonly keepAlive: number
  readonly maxHeadSize: number
}

/** The connections to one origin: as many as there are requests in progress, and those that wait for the next one. */
export interface ConnectionPool {
  /** Sends a request on a connection that waits, or on a new one. */
  send(request: UpstreamRequest, handler: UpstreamHandler): UpstreamConnection
  /** Closes the connections that have waited for longer than they are kept. */
  closeExpired(): void
  destroy(): void
}

/** How much earlier than its upstream a connection is given up, so that no request meets its close. */
const keepAliveMarginMs = 2_000
const longestKeepAliveMs = 600_000

export function createConnectionPool(origin: string, options: ConnectionPoolOptions): ConnectionPool {
  const url = new URL(origin)
  const open = new Set<UpstreamConnection>()
  /** The one that was used last stands at the end, and is used next. */
  const idle: UpstreamConnection[] = []

  const events: ConnectionEvents = {
    onIdle(connection, head) {
      const kept = keepAliveOf(head)
      if (kept <= 0) {
        connection.destroy()
        return
      }
      connection.expiresAt = performance.now() + kept
      idle.push(connection)
    },
    onGone(connection) {
      open.delete(connection)
      const index = idle.lastIndexOf(connection)
      if (index !== -1) idle.splice(index, 1)
    },
    onStale() {
      // Each would cost another request: what has lost one (a restart, a NAT) has lost all, as a rule.
      for (const connection of idle.splice(0)) connection.destroy()
    },
  }

  function keepAliveOf({ keepAliveMs }: AnswerHead): number {
    return keepAliveMs === undefined
      ? options.keepAlive
      : Math.min(keepAliveMs - keepAliveMarginMs, longestKeepAliveMs)
  }

  function takeIdle(): UpstreamConnection | undefined {
    const now = performance.now()
    for (let connection = idle.pop(); connection; connection = idle.pop()) {
      if (connection.expiresAt > now) return connection
      connection.destroy()
    }
    return undefined
  }

  function connect(): UpstreamConnection {
    const socket = openSocket(url)
    delayWriteErrors(socket)
    const connection = new UpstreamConnection(socket, options.maxHeadSize, events)
    open.add(connection)
    const timer =
      options.connectTimeout === 0
        ? undefined
        : setTimeout(() => {
            const limit = `within ${options.connectTimeout} ms`
            connection.destroy(
              new UpstreamFailure('CONNECT_TIMEOUT', `The upstream has not accepted a connection ${limit}.`),
            )
          }, options.connectTimeout)
    socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      connection.connected()
    })
    socket.once('close', () => clearTimeout(timer))
    return connection
  }

  return {
    send(request, handler) {
      const connection = takeIdle() ?? connect()
      connection.send(request, handler)
      return connection
    },
    closeExpired() {
      const now = performance.now()
      // Those that have waited longest stand in front, but their upstream may keep each for a time of its own.
      for (const connection of idle.slice()) if (connection.expiresAt <= now) connection.destroy()
    },
    destroy() {
      for (const connection of open) connection.destroy()
    },
  }
}

function openSocket({ protocol, hostname, port }: URL): Socket {
  const encrypted = protocol === 'https:'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const to = { host, port: port === '' ? (encrypted ? 443 : 80) : Number(port), noDelay: true }
  if (!encrypted) return connectTcp({ ...to, keepAlive: true, keepAliveInitialDelay: 60_000 })
  // The name in the handshake is the upstream's own, whatever the client's Host header says; an address is no name.
  return connectTls({ ...to, servername: isIP(host) === 0 ? host : '', ALPNProtocols: ['http/1.1'] })
}
