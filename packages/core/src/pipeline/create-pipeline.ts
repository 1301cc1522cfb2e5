import { decideAccess } from '../access/access-rule.ts'
import type { AuthManager, SessionEnd } from '../access/auth-manager.ts'
import { bearerChallenge, type Challenge } from '../access/challenge.ts'
import type { Credentials } from '../access/credentials.ts'
import type { Principal } from '../access/principal.ts'
import type { Clock } from '../clock.ts'
import { toQuintetError, type QuintetError } from '../errors.ts'
import type { Logger } from '../logging/logger.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions } from '../options/read-options.ts'
import { TimeLimit } from '../timing/time-limit.ts'
import { longestTimer } from '../timing/timers.ts'
import { CallReports } from './call-reports.ts'
import { CallsInProgress } from './calls-in-progress.ts'
import { runInInvocation } from './current-invocation.ts'
import { identifyCaller } from './identify-caller.ts'
import type { InvocationObserver, InvocationWrapper } from './invocation.ts'
import {
  pipelineDefaults,
  type CallSteps,
  type IncomingCall,
  type Pipeline,
  type PipelineOptions,
  type SequenceSteps,
} from './pipeline.ts'
import { PipelineCall } from './pipeline-call.ts'
import { deadlineExceeded, overloaded, refused, stopping } from './refusals.ts'
import { runWrapped } from './run-wrapped.ts'
import { createHandover } from './stream-handover.ts'

const spec = {
  logger: option.logger().required(),
  auth: option.collaborator<AuthManager>(['authenticate'], 'an auth manager').optional(),
  wrappers: option.list(option.function<InvocationWrapper>()),
  observers: option.list(option.collaborator<InvocationObserver>(['onSettled'], 'an observer')),
  maxConcurrentCalls: option.count(pipelineDefaults.maxConcurrentCalls, { min: 1 }),
  clock: option.clock(),
}

/**
 * Makes the one way to a handler.
 *
 * A call that is past its deadline is answered with `ERR_CORE_DEADLINE_EXCEEDED` at that moment and its
 * signal aborts; it counts as in progress until its handler has really ended. `run` reads `call.signal`
 * only when the invocation is asked for its signal, so a surface may make it on demand in a getter.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function createPipeline(options: PipelineOptions): Pipeline {
  return new CallPipeline(readOptions<PipelineOptions, typeof spec>(options, spec, 'createPipeline'))
}

class CallPipeline implements Pipeline {
  readonly #logger: Logger
  readonly #auth: AuthManager | undefined
  readonly #wrappers: readonly InvocationWrapper[]
  readonly #reports: CallReports
  readonly #limit: number
  readonly #clock: Clock
  readonly #timeLimits = new Map<number, TimeLimit>()
  readonly #calls: CallsInProgress

  constructor({
    logger,
    auth,
    wrappers,
    observers,
    maxConcurrentCalls,
    clock,
  }: ResolvedOptions<typeof spec>) {
    this.#logger = logger
    this.#auth = auth
    this.#wrappers = wrappers
    this.#reports = new CallReports(logger, observers)
    this.#limit = maxConcurrentCalls
    this.#clock = clock
    this.#calls = new CallsInProgress(auth?.watch === undefined ? undefined : this, clock)
  }

  get active(): number {
    return this.#calls.size
  }

  get activeByOperation(): ReadonlyMap<string, number> {
    return this.#calls.countByOperation()
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
    steps: SequenceSteps<Input, Item>,
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
    this.#reports.addObserver(observer)
  }

  reportRefused(call: Pick<IncomingCall, 'operation' | 'requestId' | 'statusOf'>, error: QuintetError): void {
    this.#reports.refused(call, error)
  }

  drain(signal: AbortSignal): Promise<void> {
    return this.#calls.drain(signal)
  }

  /** Admits a call and starts it; the promise is the answer, which a deadline may give before the handler ends. */
  #begin<Input, Result>(
    incoming: IncomingCall,
    steps: CallSteps<Input, Result>,
    wrappers: readonly InvocationWrapper[],
    onBegin?: (call: PipelineCall) => void,
  ): Promise<Result> {
    const call = new PipelineCall(incoming, this.#clock, this.#logger, this.#calls.ending)
    const refusal = this.#refusal(call)
    if (refusal !== undefined) {
      this.#settle(call, refusal)
      return Promise.reject(refusal)
    }
    this.#calls.add(call)
    onBegin?.(call)
    const work = this.#perform(call, steps, wrappers)
    // A call that is refused at once is over before anybody waits for it.
    if (call.deadline === null || call.over) return work
    return this.#inTime(call, call.deadline - call.startedAt, work)
  }

  /** The work, or a refusal once the time has run out. */
  #inTime<Result>(call: PipelineCall, remaining: number, work: Promise<Result>): Promise<Result> {
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
      if (remaining === call.operation.timeout) call.startTime(this.#timeLimitOf(remaining))
      else call.timer = setTimeout(call.onDue, remaining)
      work.then(resolve, reject)
    })
  }

  #timeLimitOf(duration: number): TimeLimit {
    let limit = this.#timeLimits.get(duration)
    if (limit === undefined) this.#timeLimits.set(duration, (limit = new TimeLimit(duration, this.#clock)))
    return limit
  }

  #refusal(call: PipelineCall): QuintetError | undefined {
    if (this.#calls.draining) return stopping()
    if (this.#calls.size >= this.#limit) return overloaded()
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
      const identified = identifyCaller(call, this.#auth)
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
      this.#calls.remove(call)
      if (!call.answered) this.#settle(call, failure)
      else if (failure?.kind === 'internal') {
        this.#logger.warn(
          { err: failure.cause, requestId: call.requestId },
          'a handler failed after its deadline',
        )
      }
    }
  }

  #settle(call: PipelineCall, failure: QuintetError | undefined): void {
    this.#reports.settled(call, failure, this.#clock.monotonic())
  }
}

const principalSteps: CallSteps<undefined, Principal> = {
  input: () => undefined,
  handle: (_input, invocation) => invocation.principal,
}
