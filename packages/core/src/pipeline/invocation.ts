import type { Logger } from '../logging/logger.ts'
import type { ClientInfo } from './client-info.ts'
import type { Operation } from './operation.ts'
import type { Principal } from '../access/principal.ts'

/** One call on its way through the pipeline, after authentication. Everything in it comes from the server. */
export interface Invocation {
  readonly operation: Operation
  readonly principal: Principal
  /** Where the call comes from. */
  readonly client: ClientInfo
  readonly requestId: string
  /** W3C Trace Context of the caller, if it sent a valid one. */
  readonly traceparent: string | undefined
  /** Aborts when the caller goes away, its session is revoked, the deadline passes or the process must stop. */
  readonly signal: AbortSignal
  /** When the call must be over, in milliseconds since the epoch; null for no limit. */
  readonly deadline: number | null
  readonly logger: Logger
}

/**
 * Runs around every handler on every surface, e.g. to open a row-level security scope. It must call
 * `next` once and return (or await) its result. For a stream, `next` settles when the stream has ended.
 */
export type InvocationWrapper = <Result>(
  invocation: Invocation,
  next: () => Promise<Result>,
) => Promise<Result>

/** What became of one call; given to every {@link InvocationObserver}. */
export interface SettledCall {
  readonly operation: Operation
  readonly requestId: string
  readonly tenantId: string | null
  readonly userId: string | null
  /** `'ok'`, or the kind of the error; for an answer of a route with a status of 500 or more the kind of that. */
  readonly outcome: string
  /** The HTTP status of the answer, where the surface has said it. */
  readonly status?: number | undefined
  readonly errorCode: string | undefined
  readonly durationMs: number
}

export interface InvocationObserver {
  /** What it throws, or rejects with later, is logged and costs the call nothing. */
  onSettled(call: SettledCall): unknown
}
