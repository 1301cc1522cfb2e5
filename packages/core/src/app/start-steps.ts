import { QuintetError, isQuintetError } from '../errors.ts'

/** Runs the steps of a start one after the other, under one deadline, and names the one that fails. */
export interface StartSteps {
  /** Aborts when the start is over because it failed, ran out of time or was canceled. */
  readonly signal: AbortSignal
  /**
   * Runs one step. When it is given up before it ends and ends well later, `undo` gets what it made.
   *
   * @throws QuintetError `ERR_CORE_START_FAILED` naming the step.
   */
  run<Result>(
    step: string,
    run: () => Promise<Result> | Result,
    undo?: (result: Result) => Promise<void>,
  ): Promise<Result>
  /** The start is over. */
  finish(): void
}

export interface StartStepsOptions {
  /** Who starts, e.g. `media/http`. */
  readonly subject: string
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

export function createStartSteps({ subject, timeout, signal }: StartStepsOptions): StartSteps {
  const controller = new AbortController()
  const givenUp = Promise.withResolvers<never>()
  givenUp.promise.catch(() => {})
  const giveUp = (reason: unknown): void => {
    givenUp.reject(reason)
    controller.abort(reason)
  }
  const timer = setTimeout(
    () => giveUp(new Error(`it was not done after ${timeout} ms (startupTimeout).`)),
    timeout,
  )
  const onAbort = (): void => giveUp(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()

  return {
    signal: controller.signal,
    async run(step, run, undo) {
      const work = controller.signal.aborted ? givenUp.promise : Promise.resolve().then(run)
      try {
        return await Promise.race([work, givenUp.promise])
      } catch (error) {
        if (undo !== undefined) void work.then(undo).catch(() => {})
        if (!controller.signal.aborted) controller.abort(error)
        throw startFailed(subject, step, error)
      }
    },
    finish() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

function startFailed(subject: string, step: string, cause: unknown): QuintetError<'ERR_CORE_START_FAILED'> {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new QuintetError(`${subject} could not start: ${step} failed: ${why}`, {
    code: 'ERR_CORE_START_FAILED',
    kind: 'internal',
    details: isQuintetError(cause) ? { step, code: cause.code, ...cause.details } : { step },
    cause,
  })
}
