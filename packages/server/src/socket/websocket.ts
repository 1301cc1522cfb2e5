import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Duplex } from 'node:stream'
import {
  type Operation,
  type RunningTransport,
  type SocketProtocol,
  type StopReason,
  type Transport,
  type TransportHost,
} from '@quintet/core'
import { WebSocketServer } from 'ws'
import { serverError } from '../errors.ts'
import { toProblem } from '../problem.ts'
import { closeCode } from './close-codes.ts'
import { ConnectionLimits } from './connection-limits.ts'
import { Connection, type AuthenticatedConnection, type DrainableSession } from './connection.ts'
import { resolveWebSocketOptions, type ResolvedWebSocketOptions, type WebSocketOptions } from './options.ts'
import { openRpcSession, rpcProtocolName } from './rpc-protocol.ts'
import { admitClient, refuseUpgrade, type AdmittedClient } from './upgrade.ts'

/** How many connections are closed together when the process stops, and the pause between, in milliseconds. */
const closeBatch = 200
const closePause = 50
/** How far the reconnects of clients are spread, in milliseconds. */
const reconnectSpread = 5_000

/**
 * The WebSocket transport of a process: RPC under the subprotocol `quintet.rpc.v1`, and the conversations
 * that other packages bring. Who may not connect is told so in plain HTTP, before any upgrade.
 *
 * @throws TypeError when an option is unknown or malformed.
 *
 * @example
 * transports: { websocket: websocket({ port: 3006, path: '/ws', origins: ['https://app.example'] }) }
 */
export function websocket(options: WebSocketOptions = {}): Transport {
  const resolved = resolveWebSocketOptions(options)
  const operation: Operation = Object.freeze({
    surface: 'message',
    name: `${resolved.name} connect`,
    access: resolved.access,
    freshness: 'strict',
    timeout: resolved.handshakeTimeout,
  })
  return {
    name: resolved.name,
    port: resolved.port,
    operations: [operation, ...resolved.protocols.flatMap((protocol) => protocol.operations ?? [])],
    async start(host: TransportHost): Promise<RunningTransport> {
      for (const protocol of resolved.protocols) await protocol.start?.(host)
      const hub = new SocketHub(host, resolved, operation)
      await hub.listen()
      return hub
    },
  }
}

type OpenSession = (connection: AuthenticatedConnection) => DrainableSession

class SocketHub implements RunningTransport {
  readonly #host: TransportHost
  readonly #options: ResolvedWebSocketOptions
  readonly #operation: Operation
  readonly #protocols: ReadonlyMap<string, OpenSession>
  readonly #server: Server
  readonly #sockets = new Set<Duplex>()
  readonly #upgrades: WebSocketServer
  readonly #connections = new Set<Connection>()
  readonly #limits: ConnectionLimits
  #chosen = new WeakMap<IncomingMessage, string>()
  #draining = false
  #nextId = 1
  #onEmpty: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(host: TransportHost, options: ResolvedWebSocketOptions, operation: Operation) {
    this.#host = host
    this.#options = options
    this.#operation = operation
    this.#limits = new ConnectionLimits(options.maxConnections, options.maxConnectionsPerUser)
    this.#protocols = new Map<string, OpenSession>([
      [rpcProtocolName, openRpcSession],
      ...options.protocols.map((protocol: SocketProtocol): [string, OpenSession] => [
        protocol.name,
        (connection) => protocol.open(connection),
      ]),
    ])
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: options.maxPayload,
      perMessageDeflate: false,
      handleProtocols: (_offered, request) => this.#chosen.get(request) ?? false,
    })
    this.#server = createServer(
      {
        headersTimeout: options.handshakeTimeout,
        requestTimeout: options.handshakeTimeout,
        connectionsCheckingInterval: Math.min(1_000, Math.max(50, options.handshakeTimeout / 4)),
      },
      refuseRequest,
    )
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgrade(request, socket, head)
    })
    this.#server.on('clientError', (_error, socket) => {
      refuseUpgrade(socket, serverError('ERR_SERVER_BAD_REQUEST', 'This is not a well-formed HTTP request.'))
    })
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo
    const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
    return `ws://${reachable.includes(':') ? `[${reachable}]` : reachable}:${String(port)}${this.#options.path}`
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ port: this.#host.port ?? this.#options.port, host: this.#options.host }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  async drain(reason: StopReason, signal: AbortSignal): Promise<void> {
    this.#draining = true
    const connections = [...this.#connections]
    for (const connection of connections) {
      connection.notifyShutdown(reason, Math.round(Math.random() * reconnectSpread))
    }
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    for (let index = 0; index < connections.length && !signal.aborted; index += closeBatch) {
      if (index > 0) await sleep(closePause)
      for (const connection of connections.slice(index, index + closeBatch)) {
        // The close frame is queued behind what still has to be sent.
        void connection.whenIdle().then(() => connection.close(closeCode.goingAway, reason))
      }
    }
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
      if (this.#connections.size === 0) resolve()
    })
    await Promise.race([empty, aborted])
    for (const connection of this.#connections) connection.terminate()
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#draining = true
    for (const connection of this.#connections) connection.terminate()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    for (const protocol of this.#options.protocols) await protocol.close?.()
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const onError = (): void => void socket.destroy()
    socket.on('error', onError)
    this.#admit(request).then(
      (client) => {
        socket.off('error', onError)
        if (socket.destroyed) {
          this.#limits.leave(client.principal)
          return
        }
        this.#chosen.set(request, client.protocol)
        // A handshake that ws itself refuses never becomes a connection.
        const onClose = (): void => this.#limits.leave(client.principal)
        socket.once('close', onClose)
        this.#upgrades.handleUpgrade(request, socket, head, (webSocket) => {
          socket.off('close', onClose)
          this.#open(client, webSocket)
        })
      },
      (error: unknown) => refuseUpgrade(socket, error),
    )
  }

  async #admit(request: IncomingMessage): Promise<AdmittedClient> {
    if (this.#draining)
      throw serverError('ERR_SERVER_CLOSED', 'The server is about to stop. Connect to another one.')
    this.#limits.enter()
    try {
      const client = await admitClient(request, this.#host, this.#options, this.#operation, this.#protocols)
      this.#limits.enterUser(client.principal)
      return client
    } catch (error) {
      this.#limits.leave()
      throw error
    }
  }

  #open(
    { protocol, principal, credentials, requestId }: AdmittedClient,
    socket: ConstructorParameters<typeof Connection>[0]['socket'],
  ): void {
    const connection = new Connection({
      id: `${requestId}/${String(this.#nextId++)}`,
      host: this.#host,
      socket,
      options: this.#options,
      operation: this.#operation,
      principal,
      credentials,
    })
    this.#connections.add(connection)
    const onClosed = (): void => {
      this.#connections.delete(connection)
      this.#limits.leave(principal)
      if (this.#connections.size === 0) this.#onEmpty?.()
    }
    try {
      const open = this.#protocols.get(protocol) ?? openRpcSession
      connection.open(open(connection), onClosed)
    } catch (error) {
      this.#host.logger.error({ err: error, protocol }, 'a socket protocol failed to open')
      onClosed()
      socket.close(closeCode.internal, 'internal error')
      return
    }
    if (this.#draining) connection.close(closeCode.goingAway, 'shutdown')
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
