import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { AnswerHead } from './answer-head.ts'
import { delayWriteErrors } from './delay-write-errors.ts'
import {
  UpstreamConnection,
  type ConnectionEvents,
  type UpstreamHandler,
  type UpstreamRequest,
} from './connection.ts'
import { createLookup } from './lookup-name.ts'
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
  /** Sends a request on a connection that waits, or on a new one; on none but a new one where it is to be `fresh`. */
  send(request: UpstreamRequest, handler: UpstreamHandler, fresh?: boolean): UpstreamConnection
  /** Closes the connections that have waited for longer than they are kept. */
  closeExpired(): void
  destroy(): void
}

/** How much earlier than its upstream a connection is given up, so that no request meets its close. */
const keepAliveMarginMs = 2_000
const longestKeepAliveMs = 600_000

/**
 * How long a connection rests behind an answer that names a body without having one. The bytes of a server that sends it
 * all the same come at once, and destroy the connection while it rests: they could be read as the next answer. Of a
 * server that has done so once, no such connection is kept.
 */
const restMs = 250

/** How long a connection may have waited to carry a request that cannot be sent again if the connection was lost. */
const doubtfulAfterMs = 1_000

export function createConnectionPool(origin: string, options: ConnectionPoolOptions): ConnectionPool {
  const url = new URL(origin)
  const encrypted = url.protocol === 'https:'
  // Node tells an end of TLS from a connection that was cut no more than its server does (RFC 9112, section 9.8).
  const limits = { maxHeadSize: options.maxHeadSize, endsWithConnection: !encrypted }
  const lookup = createLookup()
  const open = new Set<UpstreamConnection>()
  /** The one that was used last stands at the end, and is used next. */
  const idle: UpstreamConnection[] = []
  /** Those that rest, in the order in which they begin to wait. */
  const resting: UpstreamConnection[] = []
  /** This server sends the bodies that its answers only name. */
  let sendsNamedBodies = false

  const events: ConnectionEvents = {
    onIdle(connection, head) {
      const kept = keepAliveOf(head)
      if (kept <= 0 || (head.namesBody && sendsNamedBodies)) {
        connection.destroy()
        return
      }
      connection.idleSince = performance.now()
      connection.expiresAt = connection.idleSince + kept
      ;(head.namesBody ? resting : idle).push(connection)
    },
    onGone(connection) {
      open.delete(connection)
      for (const waiting of [idle, resting]) {
        const index = waiting.lastIndexOf(connection)
        if (index !== -1) waiting.splice(index, 1)
      }
    },
    onNamedBody() {
      sendsNamedBodies = true
    },
    onStale() {
      // Each would cost another request: what has lost one (a restart, a NAT) has lost all, as a rule.
      for (const connection of [...idle.splice(0), ...resting.splice(0)]) connection.destroy()
    },
  }

  function keepAliveOf({ keepAliveMs }: AnswerHead): number {
    return keepAliveMs === undefined
      ? options.keepAlive
      : Math.min(keepAliveMs - keepAliveMarginMs, longestKeepAliveMs)
  }

  function takeIdle(repeatable: boolean): UpstreamConnection | undefined {
    const now = performance.now()
    while (resting[0] && now - resting[0].idleSince > restMs) idle.push(resting.shift() as UpstreamConnection)
    for (let last = idle.at(-1); last; last = idle.at(-1)) {
      if (!repeatable && now - last.idleSince > doubtfulAfterMs) return undefined
      idle.pop()
      if (last.expiresAt > now) return last
      last.destroy()
    }
    return undefined
  }

  function connect(): UpstreamConnection {
    const socket = openSocket(url, lookup)
    delayWriteErrors(socket)
    const connection = new UpstreamConnection(socket, limits, events)
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
    socket.once(encrypted ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      connection.connected()
    })
    socket.once('close', () => clearTimeout(timer))
    return connection
  }

  return {
    send(request, handler, fresh = false) {
      // An upgrade takes its connection along: a new one costs no more than the one it would have to be replaced by.
      const waiting = fresh || request.upgrade ? undefined : takeIdle(request.repeatable)
      const connection = waiting ?? connect()
      connection.send(request, handler)
      return connection
    },
    closeExpired() {
      const now = performance.now()
      // Those that have waited longest stand in front, but their upstream may keep each for a time of its own.
      for (const connection of [...idle, ...resting]) if (connection.expiresAt <= now) connection.destroy()
    },
    destroy() {
      for (const connection of open) connection.destroy()
    },
  }
}

function openSocket({ protocol, hostname, port }: URL, lookup: LookupFunction): Socket {
  const encrypted = protocol === 'https:'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const to = { host, port: port === '' ? (encrypted ? 443 : 80) : Number(port), noDelay: true, lookup }
  if (!encrypted) return connectTcp({ ...to, keepAlive: true, keepAliveInitialDelay: 60_000 })
  // The name in the handshake is the upstream's own, whatever the client's Host header says; an address is no name.
  return connectTls({ ...to, servername: isIP(host) === 0 ? host : '', ALPNProtocols: ['http/1.1'] })
}
