import type { WireError } from '../wire/wire-error.ts'

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

export function closedError(message: string): RealtimeClientError {
  return new RealtimeClientError({ code: 'ERR_REALTIME_CLOSED', kind: 'closed', message })
}
