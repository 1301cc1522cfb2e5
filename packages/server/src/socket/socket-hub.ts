import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Duplex } from 'node:stream'
import type { StopReason } from '@quintet/core'
import { aborted, type Operation, type SocketProtocol, type TransportHost } from '@quintet/core/kit'
import { WebSocketServer } from 'ws'
import { serverError } from '../errors.ts'
import { closeCode } from '@quintet/core/http'
import { ConnectionLimits } from './connection-limits.ts'
import { Connection, type AuthenticatedConnection, type DrainableSession } from './connection.ts'
import type { ResolvedWebSocketOptions } from '../options/socket-options.ts'
import { openRpcSession, rpcProtocolName } from './rpc-protocol.ts'
import { admitClient, handshakeChallenge, refuseUpgrade, type AdmittedClient } from './upgrade.ts'

/** How many connections are closed together when the process stops, and the pause between, in milliseconds. */
const closeBatch = 200
const closePause = 50
/** How far the reconnects of clients are spread, in milliseconds. */
const reconnectSpread = 5_000

/** The ways in that connections open: the handshake itself, and what the protocols add. */
export function socketOperations(options: ResolvedWebSocketOptions): readonly Operation[] {
  return [connectOperation(options), ...options.protocols.flatMap((protocol) => protocol.operations ?? [])]
}

function connectOperation({ name, access, handshakeTimeout }: ResolvedWebSocketOptions): Operation {
  return Object.freeze({
    surface: 'message',
    name: `${name} connect`,
    access,
    freshness: 'strict',
    timeout: handshakeTimeout,
  })
}

/**
 * A message up to so many times as large as `maxPayload` is taken to be refused, as a protocol sees fit; a larger one
 * ends the connection, because a message cannot be skipped.
 */
const refusedPayload = 4

type OpenSession = (connection: AuthenticatedConnection) => DrainableSession

/** The connections of one server that upgrades to WebSocket, whoever owns it. */
export class SocketHub {
  readonly #host: TransportHost
  readonly #options: ResolvedWebSocketOptions
  readonly #operation: Operation
  readonly #protocols: ReadonlyMap<string, OpenSession>
  /** Sockets whose handshake is being decided. */
  readonly #handshakes = new Set<Duplex>()
  readonly #upgrades: WebSocketServer
  readonly #connections = new Set<Connection>()
  readonly #limits: ConnectionLimits
  #chosen = new WeakMap<IncomingMessage, string>()
  #draining = false
  #nextId = 1
  #onEmpty: (() => void) | undefined

  constructor(host: TransportHost, options: ResolvedWebSocketOptions) {
    this.#host = host
    this.#options = options
    this.#operation = connectOperation(options)
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
      maxPayload: options.maxPayload * refusedPayload,
      perMessageDeflate: false,
      handleProtocols: (_offered, request) => this.#chosen.get(request) ?? false,
    })
  }

  /** Decides about a handshake, and answers it in plain HTTP or with a connection. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const onError = (): void => void socket.destroy()
    socket.on('error', onError)
    this.#handshakes.add(socket)
    const onEnd = (): void => void this.#handshakes.delete(socket)
    socket.once('close', onEnd)
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
          socket.off('close', onClose).off('close', onEnd)
          onEnd()
          this.#open(client, webSocket)
        })
      },
      (error: unknown) =>
        refuseUpgrade(socket, error, handshakeChallenge(request, this.#host.pipeline, error)),
    )
  }

  /** To be called before the first handshake. */
  async start(): Promise<void> {
    for (const protocol of this.#options.protocols) await protocol.start?.(this.#host)
  }

  /** Takes no new connection, tells the clients, and ends each connection when its calls are answered. */
  async drain(reason: StopReason, signal: AbortSignal): Promise<void> {
    this.#draining = true
    const connections = [...this.#connections]
    for (const connection of connections) {
      connection.notifyShutdown(reason, Math.round(Math.random() * reconnectSpread))
    }
    const timeIsUp = aborted(signal)
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
    await Promise.race([empty, timeIsUp])
    this.#terminate()
  }

  async close(): Promise<void> {
    this.#draining = true
    this.#terminate()
    for (const protocol of this.#options.protocols) await protocol.close?.()
  }

  #terminate(): void {
    for (const connection of this.#connections) connection.terminate()
    for (const socket of this.#handshakes) socket.destroy()
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
    { protocol, principal, credentials, requestId, client }: AdmittedClient,
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
      client,
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
