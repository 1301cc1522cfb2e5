/** What became of one request; given to `onSettled`. */
export interface SettledExchange {
  readonly requestId: string
  readonly method: string
  /** The name of the route; undefined when none matched. */
  readonly route: string | undefined
  /** The upstream that was asked last. */
  readonly upstream: string | undefined
  /** The status that the client got; 101 for a WebSocket; 0 when it got none. */
  readonly status: number
  /** `'ok'`, `'aborted'` when the client went away, or the code of a {@link GatewayErrorCode}. */
  readonly outcome: string
  readonly attempts: number
  readonly durationMs: number
}
