import {
  type CallOptions,
  type ClientLink,
  type Duration,
  option,
  readOptions,
  toQuintetError,
  orAborted,
} from '@quintet/core/client'
import { takeToken, tokenOption } from './token-option.ts'
import { serverError } from '../errors.ts'
import { EventQueue } from '../streams/event-queue.ts'
import { resumeStream, type StreamItem } from '../streams/resume.ts'
import { RpcSocket, type RpcMessage } from './rpc-socket.ts'

export interface SocketLinkOptions {
  /** Where the WebSocket transport is, e.g. `wss://app.example/ws`. */
  readonly url: string
  /** The bearer token, asked for before each connection. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>)
  /** How long a call may take, with the connection where it has to be made; told to the server. 0 for no limit. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** How long a connection may take to be made, with the token that it needs; 0 for no limit. @defaultValue `'10s'` */
  readonly connectTimeout?: Duration
  /** After how long without a message the server is pinged, and how long it may take to answer; an interval of 0 never asks. @defaultValue `{ interval: '15s', timeout: '5s' }` */
  readonly keepAlive?: { readonly interval?: Duration; readonly timeout?: Duration }
  /** @defaultValue the global `WebSocket` */
  readonly WebSocket?: typeof WebSocket
}

/** What applies where {@link SocketLinkOptions} says nothing. */
export const socketLinkDefaults: Readonly<{
  timeout: Duration
  connectTimeout: Duration
  keepAlive: Readonly<{ interval: Duration; timeout: Duration }>
}> = Object.freeze({
  timeout: '30s',
  connectTimeout: '10s',
  keepAlive: Object.freeze({ interval: '15s', timeout: '5s' }),
})

const spec = {
  url: option.url(undefined, { protocols: ['ws:', 'wss:', 'http:', 'https:'] }),
  token: tokenOption(),
  timeout: option.delay(socketLinkDefaults.timeout),
  connectTimeout: option.delay(socketLinkDefaults.connectTimeout),
  keepAlive: option.nested({
    interval: option.delay(socketLinkDefaults.keepAlive.interval),
    timeout: option.delay(socketLinkDefaults.keepAlive.timeout, { min: 1 }),
  }),
  WebSocket: option.collaborator<typeof WebSocket>([], 'a WebSocket class').optional(),
}

/** A link over one WebSocket connection, which is made with the first call and again after it broke. */
export interface SocketLink extends ClientLink, AsyncDisposable {
  /** Goes on with a new token of the same session, without a new connection. */
  renew(token: string): Promise<void>
  close(): Promise<void>
}

/**
 * Reaches an app over a WebSocket. Streams are resumed as over HTTP.
 *
 * The server is pinged when it is quiet. A connection whose server does not answer is lost: its calls are rejected
 * with `ERR_SERVER_CLOSED`, its streams are resumed, and the next call makes a new connection.
 */
export function socketLink(options: SocketLinkOptions): SocketLink {
  const {
    url,
    token: givenToken,
    timeout,
    connectTimeout,
    keepAlive,
    ...given
  } = readOptions(options, spec, 'socketLink')
  const open = new Set<RpcSocket>()
  const closing = new AbortController()
  /** The connection for new calls. */
  let current: Promise<RpcSocket> | undefined

  const connect = async (onRetired: () => void): Promise<RpcSocket> => {
    const limit = new AbortController()
    const giveUp = (): void => {
      const late = new DOMException('The connection took too long to be made.', 'TimeoutError')
      limit.abort(serverError('ERR_SERVER_CONNECT_FAILED', late.message, { cause: late }))
    }
    const timer = connectTimeout === 0 ? undefined : setTimeout(giveUp, connectTimeout)
    const signal = AbortSignal.any([closing.signal, limit.signal])
    try {
      signal.throwIfAborted()
      const token = await takeToken(givenToken, signal)
      const socket: RpcSocket = await RpcSocket.connect(
        {
          url: url.href,
          token,
          WebSocket: given.WebSocket ?? WebSocket,
          keepAlive,
          onRetired,
          onClosed: () => open.delete(socket),
        },
        signal,
      )
      open.add(socket)
      return socket
    } finally {
      clearTimeout(timer)
    }
  }

  const socketOf = (): Promise<RpcSocket> => {
    if (current !== undefined) return current
    const retire = (): void => {
      if (current === made) current = undefined
    }
    const made = connect(retire)
    current = made
    made.catch(retire)
    return made
  }

  const send = async (
    message: RpcMessage,
    call: CallOptions,
    limit: number | undefined,
  ): Promise<unknown> => {
    call.signal?.throwIfAborted()
    if (limit === undefined) {
      const socket = await orAborted(socketOf(), call.signal)
      return socket.send(message, call, undefined)
    }
    const startedAt = performance.now()
    const late = new AbortController()
    const timer = setTimeout(
      () => late.abort(toQuintetError(new DOMException('The call took too long.', 'TimeoutError'))),
      limit,
    )
    try {
      const signal = call.signal ? AbortSignal.any([late.signal, call.signal]) : late.signal
      const socket = await orAborted(socketOf(), signal)
      return await socket.send(message, call, Math.max(0, limit - (performance.now() - startedAt)))
    } finally {
      clearTimeout(timer)
    }
  }

  const limitOf = ({ deadline }: CallOptions): number | undefined => {
    const own = deadline === undefined ? undefined : Math.max(0, deadline - Date.now())
    if (timeout === 0) return own
    return own === undefined ? timeout : Math.min(own, timeout)
  }

  const begin = (method: string, input: unknown, call: CallOptions): Promise<unknown> => {
    const deadlineMs = call.deadline === undefined ? undefined : Math.max(0, call.deadline - Date.now())
    const { lastEventId } = call
    const timeoutMs = timeout === 0 ? undefined : timeout
    return send({ type: 'call', method, input, deadlineMs, timeoutMs, lastEventId }, call, limitOf(call))
  }

  async function* openStream(method: string, input: unknown, call: CallOptions): AsyncGenerator<StreamItem> {
    const items = await begin(method, input, call)
    if (!(items instanceof EventQueue)) {
      throw serverError('ERR_SERVER_MODE_MISMATCH', `${method} answers with a value and not with a stream.`)
    }
    yield* items
  }

  const stream = (
    method: string,
    input: unknown,
    call: CallOptions,
    begun?: EventQueue,
  ): AsyncIterable<unknown> =>
    resumeStream((lastEventId) => openStream(method, input, { ...call, lastEventId }), call, begun)

  const close = async (): Promise<void> => {
    closing.abort(serverError('ERR_SERVER_CLOSED', 'This link is closed.'))
    await Promise.all([...open].map((socket) => socket.close()))
  }

  return {
    async call(method, input, call = {}) {
      const answer = await begin(method, input, call)
      return answer instanceof EventQueue ? stream(method, input, call, answer) : answer
    },
    stream: (method, input, call = {}) => stream(method, input, call),
    renew: async (token) =>
      void (await send({ type: 'renew', token }, {}, timeout === 0 ? undefined : timeout)),
    close,
    [Symbol.asyncDispose]: close,
  }
}
