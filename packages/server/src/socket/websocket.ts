import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { StopReason, Transport } from '@quintet/core'
import { openListener, stopListening, type Listener } from '@quintet/core/http'
import type { RunningTransport, TransportHost } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { toProblem } from '../problem.ts'
import {
  resolveWebSocket,
  type ResolvedWebSocketOptions,
  type WebSocketOptions,
} from '../options/socket-options.ts'
import { SocketHub, socketOperations } from './socket-hub.ts'
import { refuseUpgrade } from './upgrade.ts'

/**
 * The WebSocket transport of a process: RPC under the subprotocol `quintet.rpc.v1`, and the conversations
 * that other packages bring. Who may not connect is told so in plain HTTP, before any upgrade.
 *
 * It has a port of its own; `http({ websocket })` takes connections on the port of the HTTP transport.
 *
 * @throws TypeError when an option is unknown or malformed.
 *
 * @example
 * transports: { websocket: websocket({ port: 3006, path: '/ws', origins: ['https://app.example'] }) }
 */
export function websocket(options: WebSocketOptions = {}): Transport {
  const resolved = resolveWebSocket(options)
  return {
    name: resolved.name,
    ...(resolved.fd === undefined ? { port: resolved.port, address: resolved.host } : {}),
    standby: true,
    webSocket: { path: resolved.path, only: true },
    operations: socketOperations(resolved),
    async start(host: TransportHost): Promise<RunningTransport> {
      const server = new SocketServer(host, resolved)
      await server.listen()
      return server
    },
  }
}

class SocketServer implements RunningTransport {
  readonly #host: TransportHost
  readonly #options: ResolvedWebSocketOptions
  readonly #hub: SocketHub
  readonly #server: Server
  readonly #sockets = new Set<Duplex>()
  #listener: Listener | undefined
  #closing: Promise<void> | undefined

  constructor(host: TransportHost, options: ResolvedWebSocketOptions) {
    this.#host = host
    this.#options = options
    this.#hub = new SocketHub(host, options)
    this.#server = createServer(
      {
        headersTimeout: options.handshakeTimeout,
        requestTimeout: options.handshakeTimeout,
        connectionsCheckingInterval: Math.min(1_000, Math.max(50, options.handshakeTimeout / 4)),
      },
      refuseRequest,
    )
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#hub.upgrade(request, socket, head)
    })
    this.#server.on('clientError', (_error, socket) => {
      refuseUpgrade(socket, serverError('ERR_SERVER_BAD_REQUEST', 'This is not a well-formed HTTP request.'))
    })
    this.#server.on('connect', (_request, socket: Duplex) => {
      socket.on('error', ignore)
      refuseUpgrade(socket, serverError('ERR_SERVER_METHOD_UNKNOWN', 'The method CONNECT is not served.'))
    })
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  get url(): string {
    return `${this.#listener?.url('ws')}${this.#options.path}`
  }

  async listen(): Promise<void> {
    const { port, socket, standby } = this.#host
    await this.#hub.start()
    this.#listener = await openListener(this.#server, {
      fd: socket ?? (port === undefined ? this.#options.fd : undefined),
      host: this.#options.host,
      port: port ?? this.#options.port,
      standby,
    })
  }

  async takeOver(): Promise<void> {
    await this.#listener?.takeOver()
  }

  async giveWay(reason: StopReason, signal: AbortSignal): Promise<void> {
    await stopListening(this.#server)
    await this.#hub.drain(reason, signal)
  }

  async drain(reason: StopReason, signal: AbortSignal): Promise<void> {
    await stopListening(this.#server)
    await this.#hub.drain(reason, signal)
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#listener?.close()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await this.#hub.close()
    await closed
  }
}

function refuseRequest(_request: IncomingMessage, response: ServerResponse): void {
  const problem = {
    ...toProblem(serverError('ERR_SERVER_PROTOCOL_UNSUPPORTED', 'Connect with a WebSocket.')),
    status: 426,
    title: 'Upgrade Required',
  }
  response.writeHead(426, {
    'content-type': 'application/problem+json',
    upgrade: 'websocket',
    connection: 'close, upgrade',
  })
  response.end(JSON.stringify(problem))
}

function ignore(): void {}
