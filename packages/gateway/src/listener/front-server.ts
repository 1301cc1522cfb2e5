import { randomUUID } from 'node:crypto'
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { explainClientError, refuseConnection } from './client-error.ts'
import { followConnections, type Connections, type PendingRequest } from './connections.ts'
import { GatewayError } from '../errors.ts'
import { watchHandshake } from '../websocket/watch-handshake.ts'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'

export interface FrontServerEvents {
  /** Whether an `Upgrade` is to be followed; if not, the request is an ordinary one. */
  isWebSocket(request: IncomingMessage): boolean
  /** `takeSocket` is there for a WebSocket handshake: it hands the client's socket over. */
  onRequest(request: IncomingMessage, response: ServerResponse, takeSocket?: () => Socket): void
  /** The body of a request that is in progress cannot be read on. Without a reason the client has left. */
  onBrokenBody(pending: PendingRequest, reason: GatewayError | undefined): void
  /** An answer or a connection is over. */
  onOver(): void
  /** What could not be read as a request has been answered. */
  onMalformed(requestId: string, error: GatewayError): void
}

/** The side that clients see: a strict HTTP/1.1 server. */
export interface FrontServer {
  readonly server: Server
  readonly connections: Connections
}

export function createFrontServer(settings: ResolvedGatewayOptions, events: FrontServerEvents): FrontServer {
  const { timeouts } = settings
  const server = createServer({
    maxHeaderSize: settings.maxHeaderSize,
    headersTimeout: timeouts.requestHeaders,
    // The whole request may take as long as it likes, as long as it moves: see the idle timeout.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.keepAlive,
    connectionsCheckingInterval: Math.max(50, Math.min(2_000, timeouts.requestHeaders / 2)),
    insecureHTTPParser: false,
    noDelay: true,
    // Requests without a body take no part in the life of a stream.
    optimizeEmptyRequests: true,
    // Every answer goes through the queue of its connection; Node's own would pass it unseen.
    requireHostHeader: false,
    // A handshake behind a request that is not answered yet stays an ordinary request, and is refused in its turn.
    shouldUpgradeCallback: (request) =>
      events.isWebSocket(request) && connections.latest(request.socket) === undefined,
  })
  // Node drops headers past its count without a word. The size limit is what bounds them here.
  server.maxHeadersCount = 0
  server.maxConnections = settings.maxConnections
  const connections = followConnections(server, events.onOver)
  /** Connections from which nothing more is read. */
  const refused = new WeakSet<Socket>()

  function accept(request: IncomingMessage, response: ServerResponse): void {
    connections.begin(request, response)
    events.onRequest(request, response)
  }

  /** Answers after everything that came before on the connection, and closes it. */
  function refuse(socket: Socket, reason: GatewayError): void {
    if (refused.has(socket)) return
    refused.add(socket)
    const requestId = randomUUID()
    connections.whenIdle(socket, () => {
      refuseConnection(socket, reason, requestId)
      events.onMalformed(requestId, reason)
    })
  }

  server.on('request', accept)
  server.on('checkContinue', accept)
  server.on('checkExpectation', accept)
  server.on('upgrade', (request: IncomingMessage, duplex: Duplex, head: Buffer) => {
    const client = adopt(duplex)
    client.setTimeout(0)
    client.setKeepAlive(true, 30_000)
    const endHandshake = watchHandshake(client, head)
    // An answer that is no upgrade is still written as one, and ends the connection.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(client)
    relayDrain(client, () => response)
    response.on('finish', () => client.destroySoon())
    connections.begin(request, response)
    events.onRequest(request, response, () => {
      endHandshake()
      response.detachSocket(client)
      return client
    })
  })
  server.on('connect', (_request, duplex: Duplex) => {
    const client = adopt(duplex)
    relayDrain(client, () => connections.latest(client)?.response)
    refuse(client, new GatewayError('ERR_GATEWAY_NOT_IMPLEMENTED', 'CONNECT is not supported.'))
  })
  server.on('clientError', (error: NodeJS.ErrnoException, duplex: Duplex) => {
    const socket = duplex as Socket
    if (refused.has(socket)) return
    const left = error.code === 'ECONNRESET' || error.code === 'HPE_INVALID_EOF_STATE'
    const latest = connections.latest(socket)
    if (!socket.writable) {
      socket.destroy()
    } else if (latest && !latest.request.complete) {
      refused.add(socket)
      events.onBrokenBody(latest, left ? undefined : explainClientError(error))
    } else if (left) {
      refused.add(socket)
      connections.whenIdle(socket, () => socket.destroySoon())
    } else {
      refuse(socket, explainClientError(error))
    }
  })
  return { server, connections }
}

/** Takes over a socket that Node hands out without any listener: an error on it would end the process. */
function adopt(duplex: Duplex): Socket {
  const socket = duplex as Socket
  socket.on('error', () => socket.destroy())
  return socket
}

/** Node no longer tells a response on a socket that it has handed out when it may go on. */
function relayDrain(socket: Socket, response: () => ServerResponse | undefined): void {
  socket.on('drain', () => response()?.emit('drain'))
}
