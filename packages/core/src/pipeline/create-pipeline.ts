import { decideAccess } from '../access/access-rule.ts'
import { systemClock, type Clock } from '../clock.ts'
import type { SessionEnd } from '../access/auth-manager.ts'
import { bearerChallenge, type Challenge } from '../access/challenge.ts'
import type { Credentials } from '../access/credentials.ts'
import { runInInvocation } from './current-invocation.ts'
import { toQuintetError, type QuintetError } from '../errors.ts'
import type { Invocation, InvocationObserver, InvocationWrapper } from './invocation.ts'
import type { Logger } from '../logging/logger.ts'
import {
  pipelineDefaults,
  type CallSteps,
  type IncomingCall,
  type Pipeline,
  type PipelineOptions,
} from './pipeline.ts'
import { PipelineCall, type Ending } from './pipeline-call.ts'
import { anonymous, type Principal } from '../access/principal.ts'
import { logFailure } from './log-failure.ts'
import { deadlineExceeded, expired, notIdentified, overloaded, refused, stopping } from './refusals.ts'
import { runWrapped } from './run-wrapped.ts'
import { createHandover } from './stream-handover.ts'
import { TimeLimit } from '../timing/time-limit.ts'
import { longestTimer } from '../timing/timers.ts'

/** How often it is looked for calls that last, in milliseconds; those are ended when the session of their caller ends. */
const lastingInterval = 500

/**
 * Makes the one way to a handler.
 *
 * A call that is past its deadline is answered with `ERR_CORE_DEADLINE_EXCEEDED` at that moment and its
 * signal aborts; it counts as in progress until its handler has really ended. `run` reads `call.signal`
 * only when the invocation is asked for its signal, so a surface may make it on demand in a getter.
 */
export function createPipeline(options: PipelineOptions): Pipeline {
  return new CallPipeline(options)
}

class CallPipeline implements Pipeline {
  active = 0
  readonly #logger: Logger
  readonly #auth: PipelineOptions['auth']
  readonly #wrappers: readonly InvocationWrapper[]
  readonly #observers: InvocationObserver[]
  readonly #limit: number
  readonly #clock: Clock
  readonly #limits = new Map<number, TimeLimit>()
  readonly #ending: Ending = { listening: new Set(), reason: undefined }
  /** The calls in progress as a linked list: most come and go without anybody asking for them. */
  #newest: PipelineCall | undefined
  #draining = false
  #onIdle: (() => void)[] = []
  #lasting: NodeJS.Timeout | undefined

  constructor(options: PipelineOptions) {
    this.#logger = options.logger
    this.#auth = options.auth
    this.#wrappers = [...(options.wrappers ?? [])]
    this.#observers = [...(options.observers ?? [])]
    this.#limit = options.maxConcurrentCalls ?? pipelineDefaults.maxConcurrentCalls
    this.#clock = options.clock ?? systemClock
    if (!Number.isSafeInteger(this.#limit) || this.#limit < 1) {
      throw new TypeError(`maxConcurrentCalls: ${String(this.#limit)} is not a positive whole number.`)
    }
  }

  get activeByOperation(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (let call = this.#newest; call !== undefined; call = call.older) {
      counts.set(call.operation.name, (counts.get(call.operation.name) ?? 0) + 1)
    }
    return counts
  }

  run<Input, Result>(call: IncomingCall, steps: CallSteps<Input, Result>): Promise<Result> {
    return this.#begin(call, steps, this.#wrappers)
  }

  authorize(call: IncomingCall): Promise<Principal> {
    return this.#begin(call, principalSteps, [])
  }

  watch(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable | undefined {
    return this.#auth?.watch?.(principal, onEnd)
  }

  challenge(error: QuintetError, presented: Credentials['scheme']): Challenge {
    return this.#auth?.challenge?.(error, presented) ?? bearerChallenge(error, presented)
  }

  async *stream<Input, Item>(
    incoming: IncomingCall,
    steps: {
      readonly input: () => Input | Promise<Input>
      readonly handle: (input: Input, invocation: Invocation) => AsyncIterable<Item>
    },
  ): AsyncGenerator<Item, void, undefined> {
    const handover = createHandover<Item>()
    let call: PipelineCall | undefined
    const ended = this.#begin(
      incoming,
      {
        input: steps.input,
        handle: (input: Input, invocation) => handover.pump(steps.handle(input, invocation)),
      },
      this.#wrappers,
      (begun) => {
        call = begun
        begun.signal.addEventListener('abort', () => handover.fail(begun.signal.reason), { once: true })
        if (begun.signal.aborted) handover.fail(begun.signal.reason)
      },
    )
    ended.then(handover.end, handover.fail)
    let over = false
    try {
      for (;;) {
        const step = await handover.take()
        if (step === undefined) {
          over = true
          return
        }
        yield step.item
      }
    } catch (error) {
      over = true
      throw error
    } finally {
      handover.leave()
      call?.leave()
      // A consumer that breaks off waits for the handler's own clean-up; one that got an answer does not.
      if (!over) await ended.catch(() => {})
    }
  }

  addObserver(observer: InvocationObserver): void {
    this.#observers.push(observer)
  }

  drain(signal: AbortSignal): Promise<void> {
    this.#draining = true
    if (this.active === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const finish = (): void => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = (): void => {
        const reason = (this.#ending.reason = stopping())
        for (const call of this.#ending.listening) call.abort(reason)
        resolve()
      }
      if (signal.aborted) return giveUp()
      signal.addEventListener('abort', giveUp, { once: true })
      this.#onIdle.push(finish)
    })
  }

  /** Admits a call and starts it; the promise is the answer, which a deadline may give before the handler ends. */
  #begin<Input, Result>(
    incoming: IncomingCall,
    steps: CallSteps<Input, Result>,
    wrappers: readonly InvocationWrapper[],
    onBegin?: (call: PipelineCall) => void,
  ): Promise<Result> {
    const call = new PipelineCall(incoming, this.#clock, this.#logger, this.#ending)
    const refusal = this.#refusal(call)
    if (refusal !== undefined) {
      this.#settle(call, refusal)
      return Promise.reject(refusal)
    }
    this.#enlist(call)
    onBegin?.(call)
    const work = this.#perform(call, steps, wrappers)
    // A call that is refused at once is over before anybody waits for it.
    if (call.deadline === null || call.over) return work
    const remaining = call.deadline - call.startedAt
    // A call whose deadline no timer can hold gets none.
    if (remaining > longestTimer) return work
    return new Promise<Result>((resolve, reject) => {
      call.onDue = () => {
        const late = deadlineExceeded(call)
        call.answered = true
        call.abort(late)
        this.#settle(call, late)
        reject(late)
      }
      // Calls with the time of their operation share a timer; a caller's own deadline needs one of its own.
      if (remaining === call.operation.timeout) call.startTime(this.#limitOf(remaining))
      else call.timer = setTimeout(call.onDue, remaining)
      work.then(resolve, reject)
    })
  }

  #limitOf(duration: number): TimeLimit {
    let limit = this.#limits.get(duration)
    if (limit === undefined) this.#limits.set(duration, (limit = new TimeLimit(duration, this.#clock)))
    return limit
  }

  #refusal(call: PipelineCall): QuintetError | undefined {
    if (this.#draining) return stopping()
    if (this.active >= this.#limit) return overloaded()
    // Also true for a deadline that is not a number.
    if (call.deadline !== null && !(call.deadline > call.startedAt)) return deadlineExceeded(call)
    return undefined
  }

  async #perform<Input, Result>(
    call: PipelineCall,
    steps: CallSteps<Input, Result>,
    wrappers: readonly InvocationWrapper[],
  ): Promise<Result> {
    let failure: QuintetError | undefined
    try {
      const identified = this.#identify(call)
      call.principal = identified instanceof Promise ? await identified : identified
      const decision = decideAccess(call.operation.access, call.principal)
      if (decision !== 'granted') throw refused(call, decision)
      const pending = steps.input()
      const input = pending instanceof Promise ? await pending : pending
      // Whoever has been answered meanwhile, by the deadline, must not see the handler's effects afterwards.
      call.throwIfAborted()
      const handle = (): Promise<Result> | Result => steps.handle(input, call)
      return await runInInvocation(
        call,
        wrappers.length === 0 ? handle : () => runWrapped(call, wrappers, handle),
      )
    } catch (thrown) {
      failure = call.explain(toQuintetError(thrown))
      throw failure
    } finally {
      this.#release(call)
      if (!call.answered) this.#settle(call, failure)
      else if (failure?.kind === 'internal') {
        this.#logger.warn(
          { err: failure.cause, requestId: call.requestId },
          'a handler failed after its deadline',
        )
      }
    }
  }

  reportRefused(call: Pick<IncomingCall, 'operation' | 'requestId' | 'statusOf'>, error: QuintetError): void {
    const { operation, requestId } = call
    const { tenantId, userId } = anonymous
    const status = call.statusOf?.(error)
    for (const observer of this.#observers) {
      try {
        observer.onSettled({
          ...{ operation, requestId, tenantId, userId, status, durationMs: 0 },
          outcome: error.kind,
          errorCode: error.code,
        })
      } catch (failure) {
        this.#logger.error({ err: failure, requestId }, 'an invocation observer failed')
      }
    }
  }

  /**
   * The caller. On a public way in, credentials that do not verify, or cannot be verified now, are as good as none: stale
   * ones must not close a sign-in, nor an outage a public page. `freshness: 'strict'` refuses them there as well.
   */
  #identify(call: PipelineCall): Principal | Promise<Principal> {
    const { credentials, operation } = call.incoming
    if (!isClaim(credentials)) return this.#authenticate(call)
    const mayBeAnyone = operation.access === 'public' && operation.freshness === undefined
    return mayBeAnyone ? this.#identifyOrAnonymous(call) : this.#identifyClaim(call)
  }

  async #identifyOrAnonymous(call: PipelineCall): Promise<Principal> {
    try {
      return await this.#identifyClaim(call)
    } catch (error) {
      if (toQuintetError(error).kind === 'internal') throw error
      call.throwIfAborted()
      return anonymous
    }
  }

  #identifyClaim(call: PipelineCall): Principal | Promise<Principal> {
    const identified = this.#authenticate(call)
    return identified instanceof Promise ? identified.then(assertIdentified) : assertIdentified(identified)
  }

  #authenticate(call: PipelineCall): Principal | Promise<Principal> {
    const { credentials, operation } = call.incoming
    if (credentials.scheme === 'none') return anonymous
    if (credentials.scheme === 'attested') {
      const { principal, by } = credentials
      const runsOut = principal.kind === 'user' && principal.expiresAt !== null && by !== 'envelope'
      if (runsOut && !(principal.expiresAt > call.startedAt)) throw expired()
      return principal
    }
    if (this.#auth === undefined) throw notIdentified()
    return operation.freshness === undefined
      ? (this.#auth.recall?.(credentials) ?? this.#auth.authenticate(credentials, call))
      : this.#auth.authenticate(credentials, { signal: call.signal, freshness: operation.freshness })
  }

  #enlist(call: PipelineCall): void {
    this.active++
    if (this.#lasting === undefined && this.#auth?.watch !== undefined)
      this.#lasting = setInterval(() => this.#followSessions(), lastingInterval).unref()
    call.older = this.#newest
    if (this.#newest !== undefined) this.#newest.newer = call
    this.#newest = call
  }

  /** A call is authenticated when it begins; one that lasts, such as an upload or a stream, goes on no longer than its session. */
  #followSessions(): void {
    if (this.#newest === undefined) {
      clearInterval(this.#lasting)
      this.#lasting = undefined
    }
    const now = this.#clock.monotonic()
    for (let call = this.#newest; call !== undefined; call = call.older) {
      if (now - call.startedMonotonic >= lastingInterval) call.followSession(this)
    }
  }

  #release(call: PipelineCall): void {
    call.release()
    this.active--
    if (call.newer === undefined) this.#newest = call.older
    else call.newer.older = call.older
    if (call.older !== undefined) call.older.newer = call.newer
    call.older = call.newer = undefined
    if (this.active === 0 && this.#onIdle.length > 0) {
      const waiting = this.#onIdle
      this.#onIdle = []
      for (const resolve of waiting) resolve()
    }
  }

  #settle(call: PipelineCall, failure: QuintetError | undefined): void {
    if (failure === undefined && this.#observers.length === 0) return
    const durationMs = this.#clock.monotonic() - call.startedMonotonic
    const status = call.incoming.statusOf?.(failure)
    if (failure !== undefined) logFailure(this.#logger, call, failure, durationMs)
    for (const observer of this.#observers) {
      try {
        observer.onSettled({
          operation: call.operation,
          requestId: call.requestId,
          tenantId: call.principal.tenantId,
          userId: call.principal.userId,
          outcome: failure === undefined ? outcomeOf(status) : failure.kind,
          status,
          errorCode: failure?.code,
          durationMs,
        })
      } catch (error) {
        this.#logger.error({ err: error, requestId: call.requestId }, 'an invocation observer failed')
      }
    }
  }
}

/** What became of a call whose handler has answered: a status of 500 or more is a failure too. */
function outcomeOf(status: number | undefined): string {
  if (status === undefined || status < 500) return 'ok'
  if (status === 503) return 'unavailable'
  return status === 504 ? 'timeout' : 'internal'
}

const principalSteps: CallSteps<undefined, Principal> = {
  input: () => undefined,
  handle: (_input, invocation) => invocation.principal,
}

/** Credentials that were given never make an anonymous caller by themselves. */
function assertIdentified(principal: Principal): Principal {
  if (principal.kind === 'anonymous') throw notIdentified()
  return principal
}

/** Whether credentials came that must be verified. */
function isClaim({ scheme }: Credentials): boolean {
  return scheme !== 'none' && scheme !== 'attested'
}
