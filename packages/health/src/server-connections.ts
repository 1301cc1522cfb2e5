import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'

/** A server of `node:http` or `node:https`: what `app.listen()` of Express answers with, or `app.server` of Fastify. */
export type AnyServer = HttpServer | HttpsServer

/** The connections of one server, from its start to its end. */
export interface ServerConnections {
  /** Requests in progress. */
  readonly requests: number
  /** Open WebSocket connections. */
  readonly webSockets: number
  /** Answers tell clients from now on that their connection will not be kept. */
  discourage(): void
  /** Stops listening, and closes every connection that carries no request; the others are closed as they end. */
  stopAccepting(): void
  /** Sends a close frame (RFC 6455, section 5.5.1) over every WebSocket. */
  closeWebSockets(code: number, reason: string): void
  /** Resolves when no request is in progress and no connection is open. */
  ended(): Promise<void>
  /** Breaks off what is still open. */
  destroy(): void
  /** Forgets the server. */
  release(): void
}

interface Tracked {
  requests: number
  webSocket: boolean
}

/** Begins to follow the connections of a server; it should be called before the server listens. */
export function followConnections(server: AnyServer): ServerConnections {
  const sockets = new Map<Socket, Tracked>()
  const responses = new Set<ServerResponse>()
  let discouraged = false
  let stopped = false
  let onEnded: (() => void)[] = []

  const track = (socket: Socket): Tracked => {
    const known = sockets.get(socket)
    if (known !== undefined) return known
    const tracked = { requests: 0, webSocket: false }
    sockets.set(socket, tracked)
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size > 0) return
      for (const resolve of onEnded) resolve()
      onEnded = []
    })
    return tracked
  }

  const onConnection = (socket: Socket): void => {
    track(socket)
    // It was waiting to be accepted when the server stopped listening; a request on it is still answered.
    if (stopped) socket.setTimeout(graceForLateConnections, () => endWhenIdle(socket))
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const tracked = track(request.socket)
    tracked.requests++
    responses.add(response)
    if (discouraged) askToClose(response)
    response.once('close', () => {
      tracked.requests--
      responses.delete(response)
      if (stopped) endWhenIdle(request.socket)
    })
  }

  const onUpgrade = (request: IncomingMessage): void => {
    track(request.socket).webSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
  }

  const endWhenIdle = (socket: Socket): void => {
    const tracked = sockets.get(socket)
    if (tracked !== undefined && tracked.requests === 0 && !tracked.webSocket) socket.destroySoon()
  }

  // First, so that the header is set before the application answers.
  server.prependListener('request', onRequest)
  server.on('connection', onConnection)
  server.on('secureConnection', onConnection)
  if (server.listenerCount('upgrade') > 0) server.prependListener('upgrade', onUpgrade)
  const onNewListener = (event: string | symbol): void => {
    // A listener of ours alone would keep Node from answering upgrades that nobody wants as plain requests.
    if (event === 'upgrade' && server.listenerCount('upgrade') === 0) {
      queueMicrotask(() => server.prependListener('upgrade', onUpgrade))
    }
  }
  server.on('newListener', onNewListener)

  return {
    get requests() {
      return [...sockets.values()].reduce((sum, { requests }) => sum + requests, 0)
    },
    get webSockets() {
      return [...sockets.values()].filter(({ webSocket }) => webSocket).length
    },
    discourage() {
      discouraged = true
      for (const response of responses) askToClose(response)
    },
    stopAccepting() {
      stopped = true
      if (server.listening) server.close()
      for (const socket of sockets.keys()) endWhenIdle(socket)
    },
    closeWebSockets(code, reason) {
      for (const [socket, { webSocket }] of sockets) {
        if (webSocket && socket.writable) socket.write(closeFrame(code, reason))
      }
    },
    ended() {
      if (sockets.size === 0) return Promise.resolve()
      return new Promise((resolve) => onEnded.push(resolve))
    },
    destroy() {
      for (const socket of sockets.keys()) socket.destroy()
    },
    release() {
      server.off('request', onRequest)
      server.off('connection', onConnection)
      server.off('secureConnection', onConnection)
      server.off('upgrade', onUpgrade)
      server.off('newListener', onNewListener)
    },
  }
}

/** Milliseconds that a connection which came in at the last moment may stay silent. */
const graceForLateConnections = 500

function askToClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}

/** A server's frame is not masked, and a control frame is never compressed, so it can be written past any library. */
function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason).subarray(0, 123)
  const frame = Buffer.alloc(4 + text.length)
  frame[0] = 0x88
  frame[1] = 2 + text.length
  frame.writeUInt16BE(code, 2)
  text.copy(frame, 4)
  return frame
}
