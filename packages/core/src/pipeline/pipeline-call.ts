import type { Clock } from '../clock.ts'
import { isQuintetError, QuintetError } from '../errors.ts'
import { unknownClient, type ClientInfo } from './client-info.ts'
import type { Invocation } from './invocation.ts'
import type { Logger } from '../logging/logger.ts'
import type { Operation } from './operation.ts'
import type { IncomingCall, Pipeline } from './pipeline.ts'
import { anonymous, type Principal } from '../access/principal.ts'
import { sessionEnded } from './session-ended.ts'
import type { TimeLimit, Timed } from '../timing/time-limit.ts'

/** How a pipeline tells its calls that the process stops. */
export interface Ending {
  /** The calls whose signal has been asked for; the others need not be told. */
  readonly listening: Set<PipelineCall>
  /** Set once the time to finish in has run out. */
  reason: QuintetError | undefined
}

/**
 * One call in the pipeline, and the invocation that wrappers and handlers see. The abort controller and the
 * child logger are made on demand: most calls need neither.
 */
export class PipelineCall implements Invocation, Timed {
  readonly incoming: IncomingCall
  readonly operation: Operation
  readonly requestId: string
  readonly deadline: number | null
  readonly startedAt: number
  readonly startedMonotonic: number
  principal: Principal = anonymous
  dueAt = 0
  earlier: Timed | undefined
  later: Timed | undefined
  /** Its neighbours among the calls in progress. */
  older: PipelineCall | undefined
  newer: PipelineCall | undefined
  onDue: () => void = ignore
  /** Of a call whose deadline is the caller's own. */
  timer: NodeJS.Timeout | undefined
  /** True when nothing of the call runs any more. */
  over = false
  /** True when the deadline has answered in place of the handler. */
  answered = false
  readonly #parentLogger: Logger
  readonly #ending: Ending
  #limit: TimeLimit | undefined
  #logger: Logger | undefined
  #controller: AbortController | undefined
  #reason: unknown
  #caller: AbortSignal | undefined
  #onCallerAbort: (() => void) | undefined
  /** Of the session behind a call that lasts; null where there is none to follow. */
  #session: Disposable | null | undefined

  constructor(incoming: IncomingCall, clock: Clock, logger: Logger, ending: Ending) {
    this.incoming = incoming
    this.operation = incoming.operation
    this.requestId = incoming.requestId
    this.startedAt = clock.now()
    this.startedMonotonic = clock.monotonic()
    this.deadline = earliest(this.startedAt, incoming.operation.timeout, incoming.deadline)
    this.#parentLogger = logger
    this.#ending = ending
  }

  get client(): ClientInfo {
    return this.incoming.client ?? unknownClient
  }

  get traceparent(): string | undefined {
    return this.incoming.traceparent
  }

  get logger(): Logger {
    return (this.#logger ??= this.#parentLogger.child({
      requestId: this.requestId,
      operation: this.operation.name,
      tenantId: this.principal.tenantId,
      userId: this.principal.userId,
    }))
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal
    const controller = (this.#controller = new AbortController())
    this.#reason ??= this.#ending.reason
    if (this.#reason !== undefined) {
      controller.abort(this.#reason)
      return controller.signal
    }
    if (this.over) return controller.signal
    const caller = this.incoming.signal
    if (caller.aborted) {
      this.abort(canceled(caller.reason))
    } else {
      this.#onCallerAbort = () => this.abort(canceled(caller.reason))
      this.#caller = caller
      caller.addEventListener('abort', this.#onCallerAbort, { once: true })
      this.#ending.listening.add(this)
    }
    return controller.signal
  }

  abort(reason: QuintetError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
  }

  /** Throws the reason of an abort that this call has been told of. */
  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason
  }

  /** The consumer of a stream has gone: whatever the handler waits for should end. */
  leave(): void {
    this.abort(canceled(undefined))
  }

  /** A handler that was aborted often throws an error of its own making; the reason for the abort is the better answer. */
  explain(failure: QuintetError): QuintetError {
    return failure.kind === 'canceled' && this.#reason instanceof QuintetError ? this.#reason : failure
  }

  /** Has the call end with the others of its time limit. */
  startTime(limit: TimeLimit): void {
    this.#limit = limit
    limit.add(this, this.startedMonotonic)
  }

  /** Has the call end when the session of its caller is revoked. Called again for as long as the call lasts. */
  followSession(sessions: Pick<Pipeline, 'watch'>): void {
    const { principal, incoming } = this
    // Work in the name of a user may outlive the session in which it was asked for.
    if (
      this.#session !== undefined ||
      principal.kind !== 'user' ||
      incoming.credentials.scheme === 'attested'
    )
      return
    // The token was good when the call began, and may run out; its session may not.
    const lasting = { ...principal, expiresAt: null }
    this.#session =
      sessions.watch(lasting, (end) => {
        if (end !== 'superseded') this.abort(sessionEnded(end))
      }) ?? null
  }

  /** Releases the deadline, the session and the caller's signal; the call is over. */
  release(): void {
    this.over = true
    this.#session?.[Symbol.dispose]()
    if (this.timer !== undefined) clearTimeout(this.timer)
    // A call that was answered by its deadline has been taken out by it.
    if (!this.answered) this.#limit?.delete(this)
    if (this.#onCallerAbort === undefined) return
    this.#caller?.removeEventListener('abort', this.#onCallerAbort)
    this.#onCallerAbort = undefined
    this.#ending.listening.delete(this)
  }
}

function ignore(): void {}

function earliest(now: number, timeout: number, deadline: number | undefined): number | null {
  if (deadline === undefined) return timeout > 0 ? now + timeout : null
  return timeout > 0 ? Math.min(now + timeout, deadline) : deadline
}

/** A surface that ends a call itself says why; anything else is the caller going away. */
function canceled(cause: unknown): QuintetError {
  if (isQuintetError(cause)) return cause
  return new QuintetError('The call was canceled.', { code: 'ERR_CORE_CANCELED', kind: 'canceled', cause })
}
