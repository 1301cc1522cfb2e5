import { QuintetError } from '../errors.ts'

/** Runs the steps of a stop one after the other to the end, whatever fails, and names what failed or hung. */
export interface StopSteps {
  /** Aborts when the time for an orderly stop has run out. */
  readonly signal: AbortSignal
  /** Runs one step. It is left behind when the time has run out; `hanging` says more about what it waited for. */
  run(step: string, run: () => Promise<void> | void, hanging?: () => string | undefined): Promise<void>
  /** Runs a step that is told when the time runs out, and may then end in order within a second: with `'handed-over'`. */
  runToHandover(step: string, run: () => Promise<void | 'handed-over'>): Promise<void>
  /** @throws QuintetError `ERR_CORE_STOP_FAILED` when a step failed; its cause is an `AggregateError` of all failures. */
  finish(): void
}

/** How long each step may still take when the orderly stop has run out of time, in milliseconds. */
const forcedStepTimeout = 1_000

export function createStopSteps(subject: string, timeout: number): StopSteps {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), timeout)
  const failures: Error[] = []
  const steps: string[] = []

  const note = (step: string, message: string, cause?: unknown): void => {
    steps.push(step)
    failures.push(new Error(`${step}: ${message}`, cause === undefined ? undefined : { cause }))
  }

  return {
    signal: controller.signal,
    async run(step, run, hanging) {
      const forced = controller.signal.aborted
      const limit = createLimitAfter(controller.signal, forced ? forcedStepTimeout : 0)
      try {
        const late = await Promise.race([
          Promise.resolve()
            .then(run)
            .then(() => false),
          limit.reached.then(() => true),
        ])
        // A step that ends because it was told to give up was not done in time either.
        if (late || (!forced && controller.signal.aborted)) {
          const what = hanging?.()
          note(step, `was not done in time${what === undefined ? '' : ` (waiting for ${what})`}.`)
        }
      } catch (error) {
        note(step, error instanceof Error ? error.message : String(error), error)
      } finally {
        limit.clear()
      }
    },
    async runToHandover(step, run) {
      const limit = createLimitAfter(controller.signal, forcedStepTimeout)
      try {
        const ending = await Promise.race([run(), limit.reached.then(() => 'late' as const)])
        const isInTime = ending !== 'late' && !controller.signal.aborted
        if (!isInTime && ending !== 'handed-over') note(step, 'was not done in time.')
      } catch (error) {
        note(step, error instanceof Error ? error.message : String(error), error)
      } finally {
        limit.clear()
      }
    },
    finish() {
      clearTimeout(timer)
      if (failures.length === 0) return
      throw new QuintetError(
        `${subject} did not stop cleanly:\n${failures.map((failure) => `- ${failure.message}`).join('\n')}`,
        {
          code: 'ERR_CORE_STOP_FAILED',
          kind: 'internal',
          details: { steps },
          cause: new AggregateError(failures, `${failures.length} step(s) of the stop failed.`),
        },
      )
    },
  }
}

/** Reached so long after the signal has aborted. */
function createLimitAfter(
  signal: AbortSignal,
  ms: number,
): { readonly reached: Promise<void>; clear(): void } {
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  let timer: NodeJS.Timeout | undefined
  const begin = (): void => {
    timer = setTimeout(resolve, ms)
  }
  if (signal.aborted) begin()
  else signal.addEventListener('abort', begin, { once: true })
  return {
    reached,
    clear() {
      signal.removeEventListener('abort', begin)
      clearTimeout(timer)
    },
  }
}
