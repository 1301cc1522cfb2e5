import type { QuintetError } from '../errors.ts'
import type { Logger } from '../logging/logger.ts'
import { anonymous } from '../access/principal.ts'
import type { InvocationObserver, SettledCall } from './invocation.ts'
import { logFailure } from './log-failure.ts'
import type { IncomingCall } from './pipeline.ts'
import type { PipelineCall } from './pipeline-call.ts'

/** Tells the log and the observers what became of each call. */
export class CallReports {
  readonly #logger: Logger
  readonly #observers: InvocationObserver[]

  constructor(logger: Logger, observers: readonly InvocationObserver[]) {
    this.#logger = logger
    this.#observers = [...observers]
  }

  addObserver(observer: InvocationObserver): void {
    this.#observers.push(observer)
  }

  /** A call is over. */
  settled(call: PipelineCall, failure: QuintetError | undefined, now: number): void {
    if (failure === undefined && this.#observers.length === 0) return
    const durationMs = now - call.startedMonotonic
    if (failure !== undefined) logFailure(this.#logger, call, failure, durationMs)
    if (this.#observers.length === 0) return
    const { operation, requestId, principal, incoming } = call
    const { tenantId, userId } = principal
    const status = incoming.statusOf?.(failure)
    const outcome = failure === undefined ? outcomeOf(status) : failure.kind
    this.#tell({
      operation,
      requestId,
      tenantId,
      userId,
      outcome,
      status,
      errorCode: failure?.code,
      durationMs,
    })
  }

  /** A request has asked for no operation there is. */
  refused(call: Pick<IncomingCall, 'operation' | 'requestId' | 'statusOf'>, error: QuintetError): void {
    const { operation, requestId } = call
    const { tenantId, userId } = anonymous
    const status = call.statusOf?.(error)
    const { kind: outcome, code: errorCode } = error
    this.#tell({ operation, requestId, tenantId, userId, outcome, status, errorCode, durationMs: 0 })
  }

  #tell(call: SettledCall): void {
    for (const observer of this.#observers) {
      try {
        const told = observer.onSettled(call)
        if (told instanceof Promise) told.catch((error: unknown) => this.#observerFailed(call, error))
      } catch (error) {
        this.#observerFailed(call, error)
      }
    }
  }

  #observerFailed({ requestId }: SettledCall, error: unknown): void {
    this.#logger.error({ err: error, requestId }, 'an invocation observer failed')
  }
}

/** What became of a call whose handler has answered: a status of 500 or more is a failure too. */
function outcomeOf(status: number | undefined): string {
  if (status === undefined || status < 500) return 'ok'
  if (status === 503) return 'unavailable'
  return status === 504 ? 'timeout' : 'internal'
}
