import { randomUUID } from 'node:crypto'
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { answerClientError } from './client-error.ts'
import { trackConnections, type Connections } from './connections.ts'
import type { GatewayError } from './errors.ts'
import type { ResolvedGatewayOptions } from './options.ts'

export interface FrontServerEvents {
  /** Whether an `Upgrade` is to be followed; if not, the request is an ordinary one. */
  isWebSocket(request: IncomingMessage): boolean
  onRequest(request: IncomingMessage, response: ServerResponse, upgrade: boolean): void
  /** Whether a request on this socket has begun to be answered. */
  isBeingAnswered(socket: Duplex): boolean
  /** What could not be read has been answered. */
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
    shouldUpgradeCallback: (request) => events.isWebSocket(request),
  })
  // Node drops headers past its count without a word. The size limit is what bounds them here.
  server.maxHeadersCount = 0
  server.maxConnections = settings.maxConnections
  const connections = trackConnections(server)

  function accept(request: IncomingMessage, response: ServerResponse): void {
    response.once('close', connections.busy(request.socket))
    events.onRequest(request, response, false)
  }

  server.on('request', accept)
  server.on('checkContinue', accept)
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const client = socket as Socket
    connections.busy(client)
    client.setTimeout(0)
    client.setKeepAlive(true, 30_000)
    client.on('error', () => client.destroy())
    if (head.length > 0) client.unshift(head)
    // Node has let go of the socket. An answer that is no upgrade is still written as one, and ends the connection.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(client)
    client.on('drain', () => response.emit('drain'))
    response.on('finish', () => client.destroySoon())
    events.onRequest(request, response, true)
  })
  server.on('connect', (_request, socket: Duplex) => {
    answerClientError(new Error('CONNECT is not supported.'), socket, randomUUID())
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // A client that leaves amid its body, or breaks it while it is being answered: there is nobody to tell.
    if (error.code === 'HPE_INVALID_EOF_STATE' || events.isBeingAnswered(socket)) {
      socket.destroy()
      return
    }
    const requestId = randomUUID()
    const reason = answerClientError(error, socket, requestId)
    if (reason) events.onMalformed(requestId, reason)
  })
  return { server, connections }
}
