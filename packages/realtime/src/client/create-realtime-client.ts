import type { EventPosition } from '../wire/event-position.ts'
import type { WireError } from '../wire/wire-error.ts'
import type { ClientMessage, ServerMessage } from '../wire/messages.ts'

export interface RealtimeClientOptions {
  /** Where the channels are, e.g. `wss://app.example/ws`. */
  readonly url: string
  /** The bearer token; a function is asked before each connection, so that it can bring a fresh one. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>)
  /** How long an answer may take, in milliseconds. @defaultValue 10 000 */
  readonly timeout?: number
  /** The shortest and longest pause before another try to connect, in milliseconds. @defaultValue `{ min: 500, max: 30_000 }` */
  readonly backoff?: { readonly min: number; readonly max: number }
  /** How often a quiet connection is asked whether it lives, in milliseconds; 0 for never. @defaultValue 25 000 */
  readonly pingInterval?: number
  readonly onStatus?: (status: RealtimeStatus) => void
  /** @defaultValue the global `WebSocket` */
  readonly WebSocket?: typeof WebSocket
}

/** `closed` is final: by `close()`, or because the server takes no connection of this session any more. */
export type RealtimeStatus = 'connecting' | 'open' | 'waiting' | 'closed'

export interface SubscribeOptions<Data> {
  readonly onEvent: (data: Data, position: EventPosition) => void
  /** Events are missing: load the state afresh. */
  readonly onLost?: (position: EventPosition) => void
  readonly onPresence?: (event: 'join' | 'leave', user: string) => void
  /** Each time that the subscription stands, with those who are present. */
  readonly onSubscribed?: (info: {
    readonly recovered: boolean | undefined
    readonly present: readonly string[] | undefined
  }) => void
  /** The server has ended it, or refused to set it up again. */
  readonly onEnded?: (error: RealtimeClientError) => void
  /** Go on after this event, e.g. one from an earlier page load. */
  readonly since?: EventPosition
}

export interface ClientSubscription {
  /** Resolves when it stands for the first time; rejects when it is refused. */
  readonly ready: Promise<void>
  /** The last event seen; give it as `since` to go on later. */
  readonly position: EventPosition | undefined
  unsubscribe(): void
}

/** A connection that comes back by itself, with every subscription going on where it was. */
export interface RealtimeClient {
  readonly status: RealtimeStatus
  subscribe<Data = unknown>(channel: string, options: SubscribeOptions<Data>): ClientSubscription
  /** Sends a message; resolves with what the server's handler returned. Never sent twice. */
  publish(channel: string, data?: unknown): Promise<unknown>
  /** Goes on with a new token without a new connection. */
  renew(token: string): Promise<void>
  close(): void
}

/** An error as the server told it, or `ERR_REALTIME_CLOSED` and `ERR_REALTIME_TIMEOUT` of this side. */
export class RealtimeClientError extends Error {
  readonly code: string
  readonly kind: string
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly retryAfter: number | undefined

  constructor(error: WireError) {
    super(error.message)
    this.name = 'RealtimeClientError'
    this.code = error.code
    this.kind = error.kind
    this.details = error.details
    this.retryAfter = error.retryAfter
  }
}

interface Waiting {
  readonly resolve: (message: ServerMessage) => void
  readonly reject: (error: RealtimeClientError) => void
  readonly timer: ReturnType<typeof setTimeout>
}

interface Entry {
  readonly channel: string
  readonly options: SubscribeOptions<unknown>
  readonly ready: PromiseWithResolvers<void>
  position: EventPosition | undefined
  standing: boolean
  ended: boolean
}

type Unsent = ClientMessage extends infer Message
  ? Message extends ClientMessage
    ? Omit<Message, 'id'>
    : never
  : never

const protocol = 'quintet.realtime.v1'
/** Closes after which it makes no sense to come back with the same token. */
const sessionEnded = 4401

/** Connects at once, and works in browsers and in Node. */
export function createRealtimeClient(options: RealtimeClientOptions): RealtimeClient {
  const { url, timeout = 10_000, backoff = { min: 500, max: 30_000 }, pingInterval = 25_000 } = options
  const Socket = options.WebSocket ?? WebSocket
  const entries = new Map<string, Entry>()
  const waiting = new Map<number, Waiting>()
  let status: RealtimeStatus = 'connecting'
  let socket: WebSocket | undefined
  let nextId = 1
  let failures = 0
  let reconnectAfter: number | undefined
  let lastToken: string | undefined
  let endedToken: string | undefined
  let retry: ReturnType<typeof setTimeout> | undefined
  let ping: ReturnType<typeof setInterval> | undefined

  function become(next: RealtimeStatus): void {
    if (status === next) return
    status = next
    options.onStatus?.(next)
  }

  async function connect(): Promise<void> {
    if (status === 'closed') return
    become('connecting')
    let opening: WebSocket
    try {
      lastToken = typeof options.token === 'function' ? await options.token() : options.token
      if (isClosed()) return
      if (endedToken !== undefined && lastToken === endedToken) {
        finish()
        return
      }
      opening = new Socket(url, lastToken === undefined ? [protocol] : [protocol, `bearer.${lastToken}`])
    } catch {
      scheduleRetry()
      return
    }
    socket = opening
    opening.addEventListener('open', () => {
      failures = 0
      become('open')
      for (const entry of entries.values()) void stand(entry)
      if (pingInterval > 0)
        ping = setInterval(() => void ask({ type: 'ping' }).catch(() => opening.close()), pingInterval)
    })
    opening.addEventListener('message', ({ data }) => receive(JSON.parse(String(data)) as ServerMessage))
    opening.addEventListener('error', () => undefined)
    opening.addEventListener('close', ({ code }) => lose(opening, code))
  }

  function isClosed(): boolean {
    return status === 'closed'
  }

  function lose(lost: WebSocket, code: number): void {
    if (socket !== lost) return
    socket = undefined
    clearInterval(ping)
    failAll(closedError('The connection broke before the answer came.'))
    for (const entry of entries.values()) entry.standing = false
    if (isClosed()) return
    if (code === sessionEnded) {
      endedToken = lastToken
      if (typeof options.token !== 'function') {
        finish()
        return
      }
    }
    scheduleRetry()
  }

  function scheduleRetry(): void {
    become('waiting')
    const pause =
      reconnectAfter ?? Math.min(backoff.max, backoff.min * 2 ** failures) * (0.5 + Math.random() / 2)
    reconnectAfter = undefined
    failures += 1
    retry = setTimeout(() => void connect(), pause)
  }

  /** Ends for good. */
  function finish(): void {
    become('closed')
    clearTimeout(retry)
    clearInterval(ping)
    failAll(closedError('The client is closed.'))
    for (const entry of entries.values()) endEntry(entry, closedError('The client is closed.'))
    socket?.close(1000)
    socket = undefined
  }

  function failAll(error: RealtimeClientError): void {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer)
      reject(error)
    }
    waiting.clear()
  }

  function ask(message: Unsent): Promise<ServerMessage> {
    const open = socket
    if (!open || open.readyState !== open.OPEN)
      return Promise.reject(closedError('There is no connection now.'))
    const id = nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(
          new RealtimeClientError({
            code: 'ERR_REALTIME_TIMEOUT',
            kind: 'timeout',
            message: `No answer came within ${timeout} ms.`,
          }),
        )
      }, timeout)
      waiting.set(id, { resolve, reject, timer })
      open.send(JSON.stringify({ id, ...message }))
    })
  }

  async function stand(entry: Entry): Promise<void> {
    const since = entry.position ?? entry.options.since
    try {
      const answer = await ask({ type: 'subscribe', channel: entry.channel, ...(since ? { since } : {}) })
      if (answer.type !== 'subscribed') return
      entry.ready.resolve()
      entry.options.onSubscribed?.({ recovered: answer.recovered, present: answer.present })
    } catch (error) {
      const known = error as RealtimeClientError
      // What is only for now is tried again: with the next connection, or after a while.
      if (known.code === 'ERR_REALTIME_CLOSED') return
      if (known.kind === 'unavailable' || known.kind === 'timeout' || known.kind === 'rate-limited') {
        setTimeout(() => {
          if (!entry.ended && !entry.standing && socket) void stand(entry)
        }, known.retryAfter ?? 1_000)
        return
      }
      endEntry(entry, known)
    }
  }

  function endEntry(entry: Entry, error: RealtimeClientError): void {
    if (entry.ended) return
    entry.ended = true
    entries.delete(entry.channel)
    entry.ready.reject(error)
    entry.options.onEnded?.(error)
  }

  function receive(message: ServerMessage): void {
    // The starting position must be known before the first event, which may be handled in the same turn.
    if (message.type === 'subscribed') {
      const entry = entries.get(message.channel)
      if (entry) {
        entry.standing = true
        entry.position = { epoch: message.epoch, offset: message.offset, tag: message.tag }
        if (message.recovered === false) entry.options.onLost?.(entry.position)
      }
    }
    if ('id' in message && message.id !== undefined) {
      const asked = waiting.get(Number(message.id))
      if (!asked) return
      waiting.delete(Number(message.id))
      clearTimeout(asked.timer)
      if (message.type === 'error') asked.reject(new RealtimeClientError(message.error))
      else asked.resolve(message)
      return
    }
    switch (message.type) {
      case 'event': {
        const entry = entries.get(message.channel)
        // What comes before the answer to a subscription is replayed after it.
        if (!entry?.standing) return
        entry.position = { epoch: message.epoch, offset: message.offset, tag: message.tag }
        entry.options.onEvent(message.data, entry.position)
        return
      }
      case 'presence':
        entries.get(message.channel)?.options.onPresence?.(message.event, message.user)
        return
      case 'lost': {
        // What was left out may still be in the history; the answer says whether it was.
        const entry = entries.get(message.channel)
        if (entry) {
          entry.standing = false
          void stand(entry)
        }
        return
      }
      case 'ended': {
        const entry = entries.get(message.channel)
        if (entry) endEntry(entry, new RealtimeClientError(message.error))
        return
      }
      case 'server_shutdown':
        reconnectAfter = message.reconnectAfterMs
        return
    }
  }

  void connect()
  return {
    get status() {
      return status
    },
    subscribe<Data>(channel: string, subscribeOptions: SubscribeOptions<Data>) {
      if (entries.has(channel))
        throw new TypeError(`There is a subscription to ${JSON.stringify(channel)} already.`)
      const entry: Entry = {
        channel,
        options: subscribeOptions as SubscribeOptions<unknown>,
        ready: Promise.withResolvers<void>(),
        position: undefined,
        standing: false,
        ended: false,
      }
      entry.ready.promise.catch(() => undefined)
      entries.set(channel, entry)
      if (isClosed()) endEntry(entry, closedError('The client is closed.'))
      else if (status === 'open') void stand(entry)
      return {
        ready: entry.ready.promise,
        get position() {
          return entry.position
        },
        unsubscribe() {
          if (entry.ended) return
          entry.ended = true
          entries.delete(channel)
          if (status === 'open') ask({ type: 'unsubscribe', channel }).catch(() => undefined)
        },
      }
    },
    async publish(channel, data) {
      const answer = await ask({ type: 'publish', channel, data })
      return answer.type === 'published' ? answer.result : undefined
    },
    async renew(token) {
      await ask({ type: 'renew', token })
      lastToken = token
    },
    close: finish,
  }
}

function closedError(message: string): RealtimeClientError {
  return new RealtimeClientError({ code: 'ERR_REALTIME_CLOSED', kind: 'closed', message })
}
