import type { ServerMessage } from '../wire/messages.ts'
import { pauseBefore } from './backoff.ts'
import { callBack } from './call-back.ts'
import type { RealtimeStatus, ResolvedClientOptions, StatusReason } from './client-options.ts'

const protocol = 'quintet.realtime.v1'
/** The close code of a connection whose session has ended or whose token has expired. */
const sessionEnded = 4401
/** The close code for what is lost without a close frame (RFC 6455, section 7.4.1). */
const abnormal = 1006
/** A connection that has lived for so long, in milliseconds, begins the backoff anew when it breaks. */
const stableAfter = 5_000
/** The longest pause that a server can ask for before a reconnect, in milliseconds. */
const longestAskedPause = 300_000

export interface SocketEvents {
  onOpen(): void
  onMessage(message: ServerMessage): void
  /** The connection is gone; what was sent on it is not answered any more. */
  onLost(): void
  /** It will not come back. */
  onClosed(): void
  /** A sign of life is wanted from the server; any message is one. */
  ping(): void
}

/** A WebSocket that comes back by itself until it is closed. */
export interface ReconnectingSocket {
  readonly status: RealtimeStatus
  /** The token of this connection, or of the next one where it was renewed. */
  token: string | undefined
  send(text: string): boolean
  /** Gives the connection up at once and comes back with what `token()` brings then. */
  reconnect(reason: string): void
  /** The pause before the next connection, as the server wishes. */
  pauseFor(milliseconds: number): void
  close(): void
}

export function createReconnectingSocket(
  options: ResolvedClientOptions,
  events: SocketEvents,
): ReconnectingSocket {
  const { Socket, url, timeout, backoff, pingInterval, onStatus } = options
  let status: RealtimeStatus = 'connecting'
  let socket: WebSocket | undefined
  let token: string | undefined
  /** The token whose session has ended. */
  let endedToken: string | undefined
  let failures = 0
  let openedAt: number | undefined
  let askedPause: number | undefined
  /** The next try, the limit of a connection that opens, or the next look whether it lives. */
  let timer: ReturnType<typeof setTimeout> | undefined
  let attempt = 0

  function become(next: RealtimeStatus, reason?: StatusReason): void {
    if (status === next && reason === undefined) return
    status = next
    callBack(() => onStatus(next, reason))
  }

  function after(milliseconds: number, action: () => void): void {
    clearTimeout(timer)
    timer = setTimeout(action, milliseconds)
  }

  async function connect(): Promise<void> {
    const current = ++attempt
    become('connecting')
    // Also for a token that does not come.
    after(timeout, () => retry(abnormal, 'timeout'))
    try {
      const brought = typeof options.token === 'function' ? await options.token() : options.token
      if (current !== attempt) return
      if (endedToken !== undefined) {
        if (brought === undefined) return finish(sessionEnded, 'session ended')
        if (brought === endedToken) return retry(sessionEnded, 'session ended')
      }
      token = brought
      follow(new Socket(url, token === undefined ? [protocol] : [protocol, `bearer.${token}`]))
    } catch (error) {
      if (current === attempt) retry(abnormal, String(error))
    }
  }

  function follow(opening: WebSocket): void {
    socket = opening
    const whileCurrent =
      <Event>(handle: (event: Event) => void) =>
      (event: Event): void => {
        if (socket === opening) handle(event)
      }
    opening.addEventListener(
      'open',
      whileCurrent(() => {
        openedAt = performance.now()
        endedToken = undefined
        watch()
        become('open')
        events.onOpen()
      }),
    )
    opening.addEventListener(
      'message',
      whileCurrent(({ data }: MessageEvent) => {
        watch()
        const message = parse(data)
        if (message === undefined) lose(1007, 'malformed message')
        else events.onMessage(message)
      }),
    )
    opening.addEventListener('error', () => undefined)
    opening.addEventListener(
      'close',
      whileCurrent(({ code, reason }: CloseEvent) => lose(code, reason)),
    )
  }

  /** Asks a quiet connection whether it lives, and gives it up when it does not answer. */
  function watch(): void {
    if (pingInterval === 0) {
      clearTimeout(timer)
      return
    }
    after(pingInterval, () => {
      events.ping()
      after(timeout, () => lose(abnormal, 'no answer'))
    })
  }

  /** A connection on a dead network cannot complete the close handshake; it is not waited for. */
  function lose(code: number, reason: string): void {
    const lost = socket
    socket = undefined
    if (lost !== undefined && lost.readyState < lost.CLOSING) lost.close(1000)
    if (openedAt !== undefined && performance.now() - openedAt > stableAfter) failures = 0
    openedAt = undefined
    events.onLost()
    if (isClosed()) return
    if (code !== sessionEnded) return retry(code, reason)
    endedToken = token
    if (typeof options.token === 'function') retry(code, reason)
    else finish(code, reason)
  }

  function retry(code: number, reason: string): void {
    attempt++
    const opening = socket
    socket = undefined
    opening?.close(1000)
    const pause = askedPause ?? pauseBefore(failures, backoff)
    askedPause = undefined
    failures++
    after(pause, () => void connect())
    become('waiting', { code, reason, failures })
  }

  function finish(code: number, reason: string): void {
    if (isClosed()) return
    attempt++
    clearTimeout(timer)
    const open = socket
    socket = undefined
    open?.close(1000)
    become('closed', { code, reason, failures })
    events.onClosed()
  }

  function isClosed(): boolean {
    return status === 'closed'
  }

  void connect()
  return {
    get status() {
      return status
    },
    get token() {
      return token
    },
    set token(value) {
      token = value
    },
    send(text) {
      if (socket === undefined || socket.readyState !== socket.OPEN) return false
      socket.send(text)
      return true
    },
    reconnect(reason) {
      if (socket !== undefined) lose(abnormal, reason)
    },
    pauseFor(milliseconds) {
      if (milliseconds >= 0) askedPause = Math.min(milliseconds, longestAskedPause)
    },
    close: () => finish(1000, 'closed'),
  }
}

function parse(data: unknown): ServerMessage | undefined {
  try {
    const message = JSON.parse(String(data)) as ServerMessage | null
    return typeof message === 'object' && message !== null ? message : undefined
  } catch {
    return undefined
  }
}
