import { isQuintetError, type ClientInfo, type Principal, type StopReason } from '@quintet/core'
import {
  type Credentials,
  type Operation,
  type SessionEnd,
  type SocketConnection,
  type SocketSession,
  type TransportHost,
  createLiveness,
  type Liveness,
  longestTimer,
} from '@quintet/core/kit'
import type { RawData, WebSocket } from 'ws'
import { serverError } from '../errors.ts'
import { closeCode } from '@quintet/core/http'
import type { ResolvedWebSocketOptions } from '../options/socket-options.ts'

/** A connection whose protocol may ask with which credentials it was made, and renew them. */
export interface AuthenticatedConnection extends SocketConnection {
  /** Where the connection was made from. */
  readonly client: ClientInfo
  readonly credentials: Credentials
  /**
   * Goes on with a new token of the same session.
   *
   * @throws QuintetError as the pipeline's `authorize`; `ERR_SERVER_BAD_REQUEST` for a token of another principal.
   */
  renew(token: string): Promise<void>
}

/** A session of a protocol of our own. */
export interface DrainableSession extends SocketSession {
  /** Resolves when it has nothing left to do. */
  whenIdle?(): Promise<void>
  /** Refuses a message of more than `limit` bytes; without it, such a message ends the connection. */
  tooLarge?(data: string | Uint8Array, limit: number): void
}

/** How long a client may take to bring the new token after its old one was replaced, in milliseconds. */
const renewalTime = 10_000
/** Connections that were made together do not ping together. */
const heartbeatJitter = 0.1

export interface ConnectionSetup {
  readonly id: string
  readonly host: TransportHost
  readonly socket: WebSocket
  readonly options: ResolvedWebSocketOptions
  readonly operation: Operation
  readonly principal: Principal
  readonly credentials: Credentials
  readonly client: ClientInfo
}

/** One WebSocket connection: kept alive, bounded, and closed when the session of its user ends. */
export class Connection implements AuthenticatedConnection {
  readonly id: string
  readonly host: TransportHost
  readonly client: ClientInfo
  principal: Principal
  credentials: Credentials
  readonly #socket: WebSocket
  readonly #options: ResolvedWebSocketOptions
  readonly #operation: Operation
  readonly #controller = new AbortController()
  #session: DrainableSession | undefined
  #watch: Disposable | undefined
  #expiry: NodeJS.Timeout | undefined
  #renewal: NodeJS.Timeout | undefined
  #liveness: Liveness | undefined
  #onClosed: (() => void) | undefined

  constructor({ id, host, socket, options, operation, principal, credentials, client }: ConnectionSetup) {
    this.id = id
    this.host = host
    this.principal = principal
    this.credentials = credentials
    this.client = client
    this.#socket = socket
    this.#options = options
    this.#operation = operation
  }

  /** Begins the conversation. */
  open(session: DrainableSession, onClosed: () => void): void {
    const socket = this.#socket
    this.#session = session
    this.#onClosed = onClosed
    socket.on('message', (data, isBinary) => this.#message(data, isBinary))
    socket.on('pong', () => this.#liveness?.heard())
    socket.on('error', () => {})
    socket.once('close', (code) => this.#closed(code))
    this.#liveness = createLiveness({
      ...this.#options.keepAlive,
      jitter: heartbeatJitter,
      ping: () => {
        socket.ping()
        this.#checkSession()
      },
      onLost: () => socket.terminate(),
    })
    this.#followSession()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  send(message: string | Uint8Array): boolean {
    const socket = this.#socket
    if (socket.readyState !== socket.OPEN) return false
    // Before the message, so that one that is larger than the buffer itself can be sent on a connection at rest.
    if (socket.bufferedAmount > this.#options.maxBufferedBytes) {
      if (this.#options.slowConsumer === 'disconnect') {
        this.close(closeCode.slowConsumer, 'slow consumer')
        // The close frame waits behind what the client does not read.
        socket.terminate()
      }
      return false
    }
    socket.send(message)
    return true
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
  }

  terminate(): void {
    this.#socket.terminate()
  }

  async renew(token: string): Promise<void> {
    const credentials: Credentials = { scheme: 'bearer', token }
    const principal = await this.#authorize(credentials)
    const { kind, userId, tenantId, sessionId } = this.principal
    const same =
      principal.kind === kind &&
      principal.userId === userId &&
      principal.tenantId === tenantId &&
      principal.sessionId === sessionId
    if (!same) throw serverError('ERR_SERVER_BAD_REQUEST', 'The new token belongs to another session.')
    this.principal = principal
    this.credentials = credentials
    this.#followSession()
  }

  notifyShutdown(reason: StopReason, reconnectAfterMs: number): void {
    try {
      this.#session?.notifyShutdown(reason, reconnectAfterMs)
    } catch (error) {
      this.host.logger.error(
        { err: error, connection: this.id },
        'a socket protocol failed to announce the shutdown',
      )
    }
  }

  whenIdle(): Promise<void> {
    return this.#session?.whenIdle?.() ?? Promise.resolve()
  }

  #message(data: RawData, isBinary: boolean): void {
    const bytes = Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
    try {
      const message = isBinary ? bytes : bytes.toString('utf8')
      const { maxPayload } = this.#options
      if (bytes.length <= maxPayload) this.#session?.message(message)
      else if (this.#session?.tooLarge === undefined) this.close(closeCode.tooLarge, 'message too large')
      else this.#session.tooLarge(message, maxPayload)
    } catch (error) {
      this.host.logger.error({ err: error, connection: this.id }, 'a socket protocol failed on a message')
      this.close(closeCode.internal, 'internal error')
    }
  }

  #authorize(credentials: Credentials): Promise<Principal> {
    const { host } = this
    return host.pipeline.authorize({
      operation: this.#operation,
      credentials,
      requestId: this.id,
      client: this.client,
      signal: this.signal,
    })
  }

  /** Closes the connection when its session ends or its token runs out. */
  #followSession(): void {
    clearTimeout(this.#renewal)
    clearTimeout(this.#expiry)
    this.#watch?.[Symbol.dispose]()
    const { principal } = this
    if (principal.kind !== 'user') return
    this.#watch = this.host.pipeline.watch(principal, (end) => this.#sessionEnded(end))
    if (principal.expiresAt !== null) {
      const left = Math.min(longestTimer, Math.max(0, principal.expiresAt - Date.now()))
      this.#expiry = setTimeout(() => this.close(closeCode.sessionEnded, 'expired'), left)
    }
  }

  #sessionEnded(end: SessionEnd): void {
    if (end !== 'superseded') {
      this.close(closeCode.sessionEnded, end)
      return
    }
    // The session goes on under a newer token, which the client may be about to send.
    this.#renewal = setTimeout(() => this.close(closeCode.sessionEnded, end), renewalTime)
  }

  /** What was published before the subscription stood is noticed with the next heartbeat. */
  #checkSession(): void {
    this.#authorize(this.credentials).catch((error: unknown) => {
      if (!isQuintetError(error)) return
      if (error.kind === 'unauthenticated' || error.kind === 'forbidden')
        this.close(closeCode.sessionEnded, 'session ended')
    })
  }

  #closed(code: number): void {
    this.#liveness?.stop()
    clearTimeout(this.#expiry)
    clearTimeout(this.#renewal)
    this.#watch?.[Symbol.dispose]()
    this.#controller.abort(new DOMException('The connection closed.', 'AbortError'))
    try {
      this.#session?.closed(code)
    } finally {
      this.#onClosed?.()
    }
  }
}
