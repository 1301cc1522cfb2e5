import {
  type CallOptions,
  type ClientLink,
  type Duration,
  parseDuration,
  toQuintetError,
} from '@quintet/core/client'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { fromProblem } from '../problem.ts'
import { EventQueue } from './event-queue.ts'
import { resumeStream } from './resume.ts'

/** The subprotocol that this link speaks. */
const rpcProtocolName = 'quintet.rpc.v1'
/** Events that the server sends before it waits to be asked for more. */
const streamCredit = 64

export interface SocketLinkOptions {
  /** Where the WebSocket transport is, e.g. `wss://app.example/ws`. */
  readonly url: string
  /** The bearer token, asked for before each connection. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>)
  /** How long a call may take, with the connection where it has to be made; told to the server. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** @defaultValue the global `WebSocket` */
  readonly WebSocket?: typeof WebSocket
}

/** What applies where {@link SocketLinkOptions} says nothing. */
export const socketLinkDefaults: Readonly<{ timeout: '30s' }> = Object.freeze({ timeout: '30s' })

/** A link over one WebSocket connection, which is made with the first call and again after it broke. */
export interface SocketLink extends ClientLink, AsyncDisposable {
  /** Goes on with a new token of the same session, without a new connection. */
  renew(token: string): Promise<void>
  close(): Promise<void>
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  events: EventQueue | undefined
}

/** Reaches an app over a WebSocket. Streams are resumed as over HTTP. */
export function socketLink(options: SocketLinkOptions): SocketLink {
  refuseUnknownKeys(options, ['url', 'token', 'timeout', 'WebSocket'], 'socketLink')
  const timeout = parseDuration(options.timeout ?? socketLinkDefaults.timeout, 'socketLink.timeout')
  const Socket = options.WebSocket ?? WebSocket
  const waiting = new Map<number, Waiting>()
  let connecting: Promise<WebSocket> | undefined
  let nextId = 1
  let closed = false

  const settleAll = (error: unknown): void => {
    for (const [id, call] of waiting) {
      waiting.delete(id)
      fail(call, error)
    }
  }

  const connect = async (): Promise<WebSocket> => {
    if (closed) throw serverError('ERR_SERVER_CLOSED', 'This link is closed.')
    const token = typeof options.token === 'function' ? await options.token() : options.token
    const socket = new Socket(options.url, [
      rpcProtocolName,
      ...(token === undefined ? [] : [`bearer.${token}`]),
    ])
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve(), { once: true })
      socket.addEventListener(
        'error',
        () =>
          reject(
            serverError(
              'ERR_SERVER_CONNECT_FAILED',
              'The server refused the connection or cannot be reached.',
            ),
          ),
        { once: true },
      )
    })
    socket.addEventListener('message', ({ data }) => receive(waiting, socket, data))
    socket.addEventListener('close', ({ code, reason }) => {
      connecting = undefined
      settleAll(describeClose(code, reason))
    })
    return socket
  }

  const socketOf = (): Promise<WebSocket> =>
    (connecting ??= connect().catch((error: unknown) => {
      connecting = undefined
      throw error
    }))

  const send = async (
    message: Record<string, unknown>,
    call: CallOptions,
    limit: number | undefined,
  ): Promise<unknown> => {
    call.signal?.throwIfAborted()
    const id = nextId++
    let timer: ReturnType<typeof setTimeout> | undefined
    let leave: (() => void) | undefined
    const cancel = (error: unknown): void => {
      const pending = waiting.get(id)
      if (pending === undefined) return
      waiting.delete(id)
      fail(pending, error)
      void connecting?.then(
        (socket) => socket.send(JSON.stringify({ type: 'cancel', id })),
        () => {},
      )
    }
    const tidy = (): void => {
      clearTimeout(timer)
      if (leave !== undefined) call.signal?.removeEventListener('abort', leave)
    }
    const answered = new Promise<unknown>((resolve, reject) => {
      waiting.set(id, { resolve, reject, events: undefined })
      leave = () => cancel(call.signal?.reason)
      call.signal?.addEventListener('abort', leave, { once: true })
      if (limit !== undefined) {
        timer = setTimeout(
          () => cancel(toQuintetError(new DOMException('The call took too long.', 'TimeoutError'))),
          limit,
        )
      }
    })
    socketOf().then(
      (socket) => {
        if (waiting.has(id)) socket.send(JSON.stringify({ ...message, id }))
      },
      (error: unknown) => {
        const pending = waiting.get(id)
        waiting.delete(id)
        if (pending !== undefined) fail(pending, error)
      },
    )
    let streams = false
    try {
      const value = await answered
      if (!(value instanceof EventQueue)) return value
      const events = value
      streams = true
      clearTimeout(timer)
      events.onLeave = (early) => {
        tidy()
        if (early) cancel(new DOMException('The stream is not read any further.', 'AbortError'))
      }
      return events
    } finally {
      if (!streams) tidy()
    }
  }

  const limitOf = ({ deadline }: CallOptions): number | undefined => {
    const own = deadline === undefined ? undefined : Math.max(0, deadline - Date.now())
    if (timeout === 0) return own
    return own === undefined ? timeout : Math.min(own, timeout)
  }

  async function* open(method: string, input: unknown, call: CallOptions): AsyncGenerator<unknown> {
    const deadlineMs = call.deadline === undefined ? undefined : Math.max(0, call.deadline - Date.now())
    const events = await send(
      { type: 'call', method, input, deadlineMs, lastEventId: call.lastEventId },
      call,
      limitOf(call),
    )
    if (!(events instanceof EventQueue)) {
      throw serverError('ERR_SERVER_MODE_MISMATCH', `${method} answers with a value and not with a stream.`)
    }
    yield* events
  }

  const close = async (): Promise<void> => {
    closed = true
    const socket = await connecting?.catch(() => undefined)
    settleAll(serverError('ERR_SERVER_CLOSED', 'This link is closed.'))
    if (socket === undefined || socket.readyState === socket.CLOSED) return
    const gone = new Promise((resolve) => socket.addEventListener('close', resolve, { once: true }))
    socket.close(1000)
    await gone
  }

  return {
    call(method, input, call = {}) {
      const limit = limitOf(call)
      return send(
        { type: 'call', method, input, deadlineMs: limit, lastEventId: call.lastEventId },
        call,
        limit,
      )
    },
    stream: (method, input, call = {}) =>
      resumeStream((lastEventId) => open(method, input, { ...call, lastEventId }), call),
    renew: async (token) =>
      void (await send({ type: 'renew', token }, {}, timeout === 0 ? undefined : timeout)),
    close,
    [Symbol.asyncDispose]: close,
  }
}

function receive(waiting: Map<number, Waiting>, socket: WebSocket, data: unknown): void {
  if (typeof data !== 'string') return
  const message = JSON.parse(data) as {
    type?: string
    id?: number
    output?: unknown
    event?: unknown
    error?: unknown
  }
  const id = message.id ?? 0
  const call = waiting.get(id)
  if (call === undefined) return
  if (message.type === 'item' || message.type === 'end') {
    if (call.events === undefined) {
      // Half of the room at a time, so that the server need not stop and go for each.
      call.events = new EventQueue((count) => {
        if (waiting.has(id)) socket.send(JSON.stringify({ type: 'credit', id, count }))
      }, streamCredit / 2)
      call.resolve(call.events)
    }
    if (message.type === 'item') call.events.push(message.event)
    else {
      waiting.delete(id)
      call.events.end()
    }
    return
  }
  waiting.delete(id)
  if (message.type === 'result') call.resolve(message.output)
  else fail(call, fromProblem(message.error))
}

function fail(call: Waiting, error: unknown): void {
  if (call.events === undefined) call.reject(error)
  else call.events.fail(error)
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
