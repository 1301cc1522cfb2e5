import type { EventPosition } from '../wire/event-position.ts'
import type { RealtimeClientError } from './client-error.ts'

/** Brings the bearer token; asked before each connection, before the token expires, and when it was refused. */
export type TokenSource = () => string | undefined | Promise<string | undefined>

export interface RealtimeClientOptions {
  /** Where the channels are, e.g. `wss://app.example/ws`. */
  readonly url: string
  /**
   * The bearer token. With a function the client renews it on the standing connection before it expires, and comes back
   * with a new one after its session was closed.
   */
  readonly token?: string | TokenSource
  /** How long a connection, an answer or a token may take, in milliseconds. @defaultValue 10 000 */
  readonly timeout?: number
  /** The shortest and longest pause before another try, in milliseconds. @defaultValue `{ min: 500, max: 30_000 }` */
  readonly backoff?: { readonly min: number; readonly max: number }
  /**
   * How long a connection may be quiet before it is asked whether it lives, in milliseconds; 0 for never. One that does
   * not answer within `timeout` is given up. @defaultValue 15 000
   */
  readonly pingInterval?: number
  /** Told of each change, with the reason for `waiting` and `closed`. */
  readonly onStatus?: (status: RealtimeStatus, reason?: StatusReason) => void
  /** @defaultValue the global `WebSocket` */
  readonly WebSocket?: typeof WebSocket
}

/** `closed` is final: by `close()`, or because the session of a fixed token has ended. */
export type RealtimeStatus = 'connecting' | 'open' | 'waiting' | 'closed'

/** Why there is no connection. */
export interface StatusReason {
  /** The close code (RFC 6455, section 7.4); 1006 also where the handshake was refused or nothing listens. */
  readonly code: number
  readonly reason: string
  /** Connections in a row that failed, this one included. */
  readonly failures: number
}

/** What callbacks throw is reported as an uncaught error; the client goes on. */
export interface SubscribeOptions<Data> {
  readonly onEvent: (data: Data, position: EventPosition) => void
  /** Events are missing: load the state afresh. */
  readonly onLost?: (position: EventPosition) => void
  readonly onPresence?: (event: 'join' | 'leave', user: string) => void
  /** Each time that the subscription stands, with the users who are present. */
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
  /** Resolves when it stands for the first time; rejects when it is refused, or the client is closed. */
  readonly ready: Promise<void>
  /** The last event seen; give it as `since` to go on later. */
  readonly position: EventPosition | undefined
  unsubscribe(): void
}

/** A connection that comes back by itself, with every subscription going on where it was. */
export interface RealtimeClient {
  readonly status: RealtimeStatus
  subscribe<Data = unknown>(channel: string, options: SubscribeOptions<Data>): ClientSubscription
  /**
   * Sends a message; resolves with what the server's handler returned. Never sent twice.
   *
   * @throws RealtimeClientError as the server answered, `ERR_REALTIME_BAD_MESSAGE` for what JSON cannot hold,
   *   `ERR_REALTIME_CLOSED` without a connection, `ERR_REALTIME_TIMEOUT`.
   */
  publish(channel: string, data?: unknown): Promise<unknown>
  /** Goes on with a new token without a new connection. */
  renew(token: string): Promise<void>
  close(): void
}

export interface ResolvedClientOptions {
  readonly url: string
  readonly token: string | TokenSource | undefined
  readonly timeout: number
  readonly backoff: { readonly min: number; readonly max: number }
  readonly pingInterval: number
  readonly onStatus: (status: RealtimeStatus, reason?: StatusReason) => void
  readonly Socket: typeof WebSocket
}

const known = ['url', 'token', 'timeout', 'backoff', 'pingInterval', 'onStatus', 'WebSocket']

/** @throws TypeError for an address or an option that makes no sense. Small, since it goes to browsers. */
export function resolveClientOptions(options: RealtimeClientOptions): ResolvedClientOptions {
  const unknown = Object.keys(options).find((key) => !known.includes(key))
  if (unknown !== undefined) fail(`unknown option "${unknown}". Known: ${known.join(', ')}.`)
  const {
    token,
    timeout = 10_000,
    backoff = { min: 500, max: 30_000 },
    pingInterval = 15_000,
    onStatus = () => undefined,
    WebSocket: Socket = WebSocket,
  } = options
  const { min, max } = backoff
  if (!(timeout > 0)) fail('timeout must be milliseconds above 0.')
  if (!(min > 0 && max >= min)) fail('backoff must be milliseconds above 0, max not below min.')
  if (!(pingInterval >= 0)) fail('pingInterval must be milliseconds, or 0 for never.')
  return { url: readUrl(options.url), token, timeout, backoff, pingInterval, onStatus, Socket }
}

function readUrl(url: string): string {
  const page = (globalThis as { readonly location?: { readonly href: string } }).location?.href
  if (!URL.canParse(url, page))
    fail(`url: ${JSON.stringify(url)} is not an address such as wss://app.example/ws.`)
  const { protocol, href } = new URL(url, page)
  if (!/^(?:ws|http)s?:$/.test(protocol)) fail(`url: ${JSON.stringify(url)} must begin with wss: or ws:.`)
  return href.replace(/^http/, 'ws')
}

function fail(problem: string): never {
  throw new TypeError(`createRealtimeClient: ${problem}`)
}
