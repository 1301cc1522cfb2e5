import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The sockets of a server, so that none outlives it: also those that Node does not close by itself. */
export interface Connections {
  readonly size: number
  /** Counts a request in progress on the socket; the returned function counts it off. */
  busy(socket: Socket): () => void
  /** Closes the sockets on which nothing is in progress. */
  closeIdle(): void
  destroyAll(): void
}

export function trackConnections(server: Server): Connections {
  const requests = new Map<Socket, number>()
  server.on('connection', (socket: Socket) => {
    requests.set(socket, 0)
    socket.once('close', () => requests.delete(socket))
  })
  return {
    get size() {
      return requests.size
    },
    busy(socket) {
      requests.set(socket, (requests.get(socket) ?? 0) + 1)
      let counted = true
      return () => {
        const count = requests.get(socket)
        if (counted && count !== undefined) requests.set(socket, count - 1)
        counted = false
      }
    },
    closeIdle() {
      for (const [socket, count] of requests) {
        if (count === 0) socket.destroySoon()
      }
    },
    destroyAll() {
      for (const socket of requests.keys()) socket.destroy()
    },
  }
}
