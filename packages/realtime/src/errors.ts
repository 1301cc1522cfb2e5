import { type ErrorKind, QuintetError } from '@quintet/core'

/** What can go wrong with a channel. */
export type RealtimeErrorCode =
  | 'ERR_REALTIME_BAD_MESSAGE'
  | 'ERR_REALTIME_CLOSED'
  | 'ERR_REALTIME_FORBIDDEN'
  | 'ERR_REALTIME_NOT_SUBSCRIBED'
  | 'ERR_REALTIME_NO_MESSAGES'
  | 'ERR_REALTIME_SUBSCRIPTION_LIMIT'
  | 'ERR_REALTIME_TOO_LARGE'
  | 'ERR_REALTIME_TOO_MANY'
  | 'ERR_REALTIME_UNAVAILABLE'
  | 'ERR_REALTIME_UNKNOWN_CHANNEL'

/** The kind of each code. */
export const errorKinds: Readonly<Record<RealtimeErrorCode, ErrorKind>> = Object.freeze({
  ERR_REALTIME_BAD_MESSAGE: 'invalid-input',
  ERR_REALTIME_CLOSED: 'closed',
  ERR_REALTIME_FORBIDDEN: 'forbidden',
  ERR_REALTIME_NOT_SUBSCRIBED: 'conflict',
  ERR_REALTIME_NO_MESSAGES: 'unsupported',
  ERR_REALTIME_SUBSCRIPTION_LIMIT: 'conflict',
  ERR_REALTIME_TOO_LARGE: 'too-large',
  ERR_REALTIME_TOO_MANY: 'rate-limited',
  ERR_REALTIME_UNAVAILABLE: 'unavailable',
  ERR_REALTIME_UNKNOWN_CHANNEL: 'not-found',
})

export class RealtimeError extends QuintetError<RealtimeErrorCode> {
  constructor(
    code: RealtimeErrorCode,
    message: string,
    options: { readonly retryAfter?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { code, kind: errorKinds[code], ...options })
  }
}
