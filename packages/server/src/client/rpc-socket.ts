import { type CallOptions, createLiveness, type Liveness, toQuintetError, within } from '@quintet/core/client'
import { serverError } from '../errors.ts'
import { fromProblem } from '../problem.ts'
import { encodeMessage } from '../encode-input.ts'
import { eventIdOf } from '../streams/event-id.ts'
import { EventQueue } from '../streams/event-queue.ts'

/** The subprotocol that this link speaks. */
const rpcProtocolName = 'quintet.rpc.v1'
/** Events that the server sends before it waits to be asked for more. */
const streamCredit = 64
/** How long a close handshake may take, in milliseconds: on a dead network it never ends. */
const closeTime = 1_000

export interface RpcSocketOptions {
  readonly url: string
  readonly token: string | undefined
  readonly WebSocket: typeof WebSocket
  /** Milliseconds without a message after which the connection is probed, and until the answer must be there; 0 for never. */
  readonly keepAlive: { readonly interval: number; readonly timeout: number }
  /** Called once when no new call may be sent here any more. */
  readonly onRetired: () => void
  /** Called once when the connection is gone. */
  readonly onClosed: () => void
}

interface PendingCall {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  events: EventQueue | undefined
  resumable: boolean
}

/** The message of a call, without its id. */
export type RpcMessage = Readonly<Record<string, unknown>> & { readonly type: string }

/** One WebSocket connection with its calls in progress and its liveness check. */
export class RpcSocket {
  readonly #socket: WebSocket
  readonly #options: RpcSocketOptions
  readonly #pending = new Map<number, PendingCall>()
  #nextId = 1
  /** Any message shows that the server lives; after a quiet interval it is asked. */
  readonly #liveness: Liveness
  #retired = false
  #lost = false

  private constructor(socket: WebSocket, options: RpcSocketOptions) {
    this.#socket = socket
    this.#options = options
    socket.addEventListener('message', this.#onMessage)
    socket.addEventListener('close', this.#onClose)
    this.#liveness = createLiveness({
      ...options.keepAlive,
      ping: () => void this.#transmit(JSON.stringify({ type: 'ping', id: 0 })),
      onLost: () => this.#lose(unanswered()),
    })
  }

  /**
   * Connects.
   *
   * @throws QuintetError `ERR_SERVER_CONNECT_FAILED`; the signal's reason when it aborts.
   */
  static async connect(options: RpcSocketOptions, signal: AbortSignal): Promise<RpcSocket> {
    const { url, token } = options
    let socket: WebSocket
    try {
      socket = new options.WebSocket(url, [
        rpcProtocolName,
        ...(token === undefined ? [] : [`bearer.${token}`]),
      ])
    } catch (error) {
      throw serverError(
        'ERR_SERVER_CONNECT_FAILED',
        'The URL or the token is not one that a WebSocket takes.',
        {
          cause: error,
        },
      )
    }
    const over = new AbortController()
    try {
      await new Promise<void>((resolve, reject) => {
        const refused = (): void =>
          reject(
            serverError(
              'ERR_SERVER_CONNECT_FAILED',
              'The server refused the connection or cannot be reached.',
            ),
          )
        const once = { signal: over.signal }
        socket.addEventListener('open', () => resolve(), once)
        socket.addEventListener('error', refused, once)
        socket.addEventListener('close', refused, once)
        const leave = (): void => reject(signal.reason as Error)
        signal.addEventListener('abort', leave, once)
        if (signal.aborted) leave()
      })
      return new RpcSocket(socket, options)
    } catch (error) {
      socket.addEventListener('error', ignore)
      socket.close()
      throw error
    } finally {
      over.abort()
    }
  }

  /**
   * Sends a message that is answered: with a value, or with an {@link EventQueue}.
   *
   * @throws QuintetError what the server answered; `ERR_SERVER_CLOSED` when the connection ends first.
   */
  async send(message: RpcMessage, call: CallOptions, limit: number | undefined): Promise<unknown> {
    call.signal?.throwIfAborted()
    const id = this.#nextId++
    const { type, ...rest } = message
    // The id comes first, so that a server which cannot read the rest still knows which call to answer.
    const text = encodeMessage({ type, id, ...rest })
    const over = new AbortController()
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, events: undefined, resumable: false })
    })
    const cancel = (error: unknown): void => this.#cancel(id, error)
    call.signal?.addEventListener('abort', () => cancel(call.signal?.reason), {
      once: true,
      signal: over.signal,
    })
    const timer =
      limit === undefined
        ? undefined
        : setTimeout(
            () => cancel(toQuintetError(new DOMException('The call took too long.', 'TimeoutError'))),
            limit,
          )
    if (!this.#transmit(text)) this.#fail(id, closedError())
    try {
      const value = await answered
      clearTimeout(timer)
      if (!(value instanceof EventQueue)) over.abort()
      else {
        value.onLeave = (early) => {
          over.abort()
          if (early) cancel(new DOMException('The stream is not read any further.', 'AbortError'))
        }
      }
      return value
    } catch (error) {
      clearTimeout(timer)
      over.abort()
      throw error
    }
  }

  /** Ends the connection; calls in progress are rejected. */
  async close(): Promise<void> {
    const socket = this.#socket
    const gone = new Promise<void>((resolve) => {
      if (socket.readyState === socket.CLOSED || this.#lost) resolve()
      socket.addEventListener('close', () => resolve(), { once: true })
    })
    this.#lose(serverError('ERR_SERVER_CLOSED', 'This link is closed.'))
    await within(closeTime, gone, '').catch(ignore)
  }

  #transmit(text: string): boolean {
    if (this.#socket.readyState !== this.#socket.OPEN) return false
    this.#socket.send(text)
    return true
  }

  #cancel(id: number, error: unknown): void {
    if (!this.#pending.has(id)) return
    this.#fail(id, error)
    this.#transmit(JSON.stringify({ type: 'cancel', id }))
  }

  #fail(id: number, error: unknown): void {
    const call = this.#pending.get(id)
    if (call === undefined) return
    this.#pending.delete(id)
    if (call.events === undefined) call.reject(error)
    else call.events.fail(error)
    this.#closeWhenDone()
  }

  /** The connection is given up, also when its peer cannot be asked to agree. */
  #lose(error: unknown): void {
    if (this.#lost) return
    this.#lost = true
    this.#liveness.stop()
    this.#socket.removeEventListener('message', this.#onMessage)
    this.#socket.removeEventListener('close', this.#onClose)
    this.#socket.close(1000)
    this.#retire()
    this.#options.onClosed()
    for (const id of [...this.#pending.keys()]) this.#fail(id, error)
  }

  #retire(): void {
    if (this.#retired) return
    this.#retired = true
    this.#options.onRetired()
    this.#closeWhenDone()
  }

  #closeWhenDone(): void {
    if (this.#retired && !this.#lost && this.#pending.size === 0) this.#lose(closedError())
  }

  readonly #onClose = ({ code, reason }: CloseEvent): void => this.#lose(describeClose(code, reason))

  readonly #onMessage = ({ data }: MessageEvent): void => {
    this.#liveness.heard()
    try {
      this.#receive(parseMessage(data))
    } catch (error) {
      this.#lose(
        serverError('ERR_SERVER_RESPONSE_INVALID', 'The server sent what is no message of this protocol.', {
          cause: error,
        }),
      )
    }
  }

  #receive({ type, id, output, event, error, resumable }: ServerMessage): void {
    if (type === 'shutdown') {
      this.#retire()
      return
    }
    const call = typeof id === 'number' ? this.#pending.get(id) : undefined
    if (call === undefined || typeof id !== 'number') return
    if (type === 'begin') {
      call.resumable = resumable === true
      this.#eventsOf(id, call)
    } else if (type === 'item') {
      this.#eventsOf(id, call).push({ event, id: call.resumable ? eventIdOf(event) : undefined })
    } else if (type === 'end') {
      this.#eventsOf(id, call).end()
      this.#pending.delete(id)
      this.#closeWhenDone()
    } else if (type === 'result') {
      call.resolve(output)
      this.#pending.delete(id)
      this.#closeWhenDone()
    } else this.#fail(id, fromProblem(error))
  }

  #eventsOf(id: number, call: PendingCall): EventQueue {
    if (call.events === undefined) {
      // Half of the room at a time, so that the server need not stop and go for each.
      call.events = new EventQueue((count) => {
        if (this.#pending.has(id)) this.#transmit(JSON.stringify({ type: 'credit', id, count }))
      }, streamCredit / 2)
      call.resolve(call.events)
    }
    return call.events
  }
}

interface ServerMessage {
  readonly type?: unknown
  readonly id?: unknown
  readonly output?: unknown
  readonly event?: unknown
  readonly error?: unknown
  readonly resumable?: unknown
}

function parseMessage(data: unknown): ServerMessage {
  const message: unknown = typeof data === 'string' ? JSON.parse(data) : undefined
  if (typeof message === 'object' && message !== null) return message
  throw new TypeError('The message is not an object.')
}

function closedError(): Error {
  return serverError('ERR_SERVER_CLOSED', 'The connection closed before the call was answered.')
}

function unanswered(): Error {
  return serverError('ERR_SERVER_CLOSED', 'The server has not answered to a ping: the connection is lost.')
}

function describeClose(code: number, reason: string): Error {
  if (code === 4401) {
    return fromProblem({
      code: 'ERR_CORE_UNAUTHENTICATED',
      kind: 'unauthenticated',
      detail: 'The session ended.',
      details: { reason },
    })
  }
  return serverError('ERR_SERVER_CLOSED', 'The connection closed before the call was answered.', {
    details: { code },
  })
}

function ignore(): void {}
