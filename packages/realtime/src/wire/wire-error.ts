/** An error as it is told to a client. */
export interface WireError {
  readonly code: string
  readonly kind: string
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
  /** Milliseconds. */
  readonly retryAfter?: number
}
