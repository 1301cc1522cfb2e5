import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { breakOff } from '../exchange/break-off.ts'

/** The sockets of a server with the requests in progress on each, so that none outlives it. */
export interface Connections {
  readonly size: number
  /** Follows a request until its answer is over. When its connection breaks, `response` emits `close`. */
  begin(request: IncomingMessage, response: ServerResponse): void
  /** The request on this connection that came last and is not over. */
  latest(socket: Socket): PendingRequest | undefined
  /** Calls back once every request in progress on this connection is over; at once when there is none. */
  whenIdle(socket: Socket, callback: () => void): void
  /**
   * Cuts the connections whose answer has ended and has not been read for longer than `idle`, in milliseconds.
   * `now` is the time of the monotonic clock; `isWatched` tells which answers have a time limit of their own.
   */
  cutUnread(now: number, idle: number, isWatched: (response: ServerResponse) => boolean): void
  /** Closes the sockets on which nothing has been in progress since that time of the monotonic clock. */
  closeIdle(since: number): void
  destroyAll(): void
}

/** A request whose answer is not over. */
export interface PendingRequest {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

interface Connection {
  /** In the order in which they are answered. */
  readonly pending: (PendingRequest & { endedAt?: number })[]
  /** Those whose answer was broken off; the connection ends when it is their turn. */
  readonly broken: Set<PendingRequest>
  onIdle: (() => void) | undefined
  /** When nothing was in progress any more, on the monotonic clock. */
  idleSince: number
}

/** `onOver` is called whenever an answer or a connection is over. */
export function followConnections(server: Server, onOver: () => void): Connections {
  const connections = new Map<Socket, Connection>()
  server.on('connection', (socket: Socket) => {
    const connection: Connection = {
      pending: [],
      broken: new Set(),
      onIdle: undefined,
      idleSince: performance.now(),
    }
    connections.set(socket, connection)
    socket.once('close', () => {
      connections.delete(socket)
      for (const { response } of connection.pending.slice()) {
        // Node tells only the response that is being written.
        if (!response.socket) breakOff(response)
      }
      onOver()
    })
  })
  return {
    get size() {
      return connections.size
    },
    cutUnread(now, idle, isWatched) {
      if (idle === 0) return
      for (const [socket, { pending }] of connections) {
        const first = pending[0]
        if (!first?.response.writableEnded || isWatched(first.response)) continue
        first.endedAt ??= now
        if (now - first.endedAt > idle) socket.destroy()
      }
    },
    begin(request, response) {
      const connection = connections.get(request.socket)
      if (!connection) return
      const entry = { request, response }
      connection.pending.push(entry)
      response.once('close', () => {
        if (response.writableFinished) remove(connection.pending, entry)
        else connection.broken.add(entry)
        const next = connection.pending[0]
        if (!next) {
          connection.idleSince = performance.now()
          connection.onIdle?.()
        }
        // Nothing can follow an answer that was broken off. What came before it on the connection is whole.
        else if (connection.broken.has(next)) request.socket.destroy()
        onOver()
      })
    },
    latest: (socket) => connections.get(socket)?.pending.at(-1),
    whenIdle(socket, callback) {
      const connection = connections.get(socket)
      if (!connection || connection.pending.length === 0) callback()
      else connection.onIdle = callback
    },
    closeIdle(since) {
      for (const [socket, { pending, idleSince }] of connections) {
        if (pending.length === 0 && idleSince <= since) socket.destroySoon()
      }
    },
    destroyAll() {
      for (const socket of connections.keys()) socket.destroy()
    },
  }
}

function remove(pending: PendingRequest[], entry: PendingRequest): void {
  const index = pending.indexOf(entry)
  if (index !== -1) pending.splice(index, 1)
}
