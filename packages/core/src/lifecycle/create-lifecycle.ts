import { parseTimerDuration, type Duration } from '../options/duration.ts'
import type { Lifecycle, Phase } from './lifecycle.ts'
import type { Logger } from '../logging/logger.ts'

/** A {@link Lifecycle} with the handles by which its owner moves it along. */
export interface OwnedLifecycle extends Lifecycle, AsyncDisposable {
  /** Tells of something that is being made. The end waits a second for it before it releases anything that it may use. */
  making<T>(name: string, work: Promise<T>): Promise<T>
  /** Moves to another phase. */
  enter(phase: Phase): void
  /**
   * Ends it: aborts the signal, stops every timer, and disposes everything in reverse order.
   * Idempotent. Rejects with every failure (an `AggregateError` for more than one) after all have been disposed.
   */
  close(): Promise<void>
  /** What is being disposed right now, to name what hangs. */
  readonly closing: string | undefined
  /** Timers that are still set. */
  readonly timers: number
}

export interface LifecycleOptions {
  readonly logger: Logger
}

/** How long the end waits for what is still being made, in milliseconds. */
const unfinishedGrace = 1_000

/** Makes the lifecycle of one process. */
export function createLifecycle(options: LifecycleOptions): OwnedLifecycle {
  const { logger } = options
  const controller = new AbortController()
  const timers = new Set<Disposable>()
  const stops: { readonly name: string; readonly stop: () => Promise<void> | void }[] = []
  const unfinished = new Set<{ readonly name: string; readonly work: Promise<unknown> }>()
  let phase: Phase = 'created'
  let closing: string | undefined
  let closed: Promise<void> | undefined

  const guarded = async (run: () => Promise<void> | void): Promise<void> => {
    try {
      await run()
    } catch (error) {
      logger.error({ err: error }, 'a timer of the lifecycle failed')
    }
  }

  const track = (clear: () => void): Disposable => {
    const timer: Disposable = {
      [Symbol.dispose]() {
        clear()
        timers.delete(timer)
      },
    }
    timers.add(timer)
    return timer
  }

  const register = (name: string, stop: () => Promise<void> | void): void => {
    if (closed === undefined) return void stops.push({ name, stop })
    // A setup that was given up may still be making things: they are released, and their maker learns why.
    void releaseLate(name, stop)
    throw new Error(`lifecycle: "${name}" comes too late; the process has stopped. It is released at once.`)
  }

  const releaseLate = async (name: string, stop: () => Promise<void> | void): Promise<void> => {
    try {
      await stop()
    } catch (error) {
      logger.error({ err: error, resource: name }, 'a resource that came too late could not be released')
    }
  }

  /** What is being made may use what has been made before: nothing is released under it, as long as it takes no more than its time. */
  const settleWork = async (): Promise<void> => {
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), unfinishedGrace)
    const over = new Promise<void>((resolve) => deadline.signal.addEventListener('abort', () => resolve()))
    closing = [...unfinished].map(({ name }) => name).join(', ')
    while (unfinished.size > 0 && !deadline.signal.aborted) {
      await Promise.race([over, Promise.allSettled([...unfinished].map(({ work }) => work))])
    }
    clearTimeout(timer)
  }

  const close = async (): Promise<void> => {
    controller.abort(new DOMException('The process has stopped.', 'AbortError'))
    for (const timer of timers) timer[Symbol.dispose]()
    if (unfinished.size > 0) await settleWork()
    const failures: unknown[] = []
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) {
      closing = next.name
      try {
        await next.stop()
      } catch (error) {
        failures.push(error)
      }
    }
    closing = undefined
    phase = 'stopped'
    if (failures.length === 1) throw failures[0]
    if (failures.length > 1)
      throw new AggregateError(failures, `${failures.length} resources failed to close.`)
  }

  const lifecycle: OwnedLifecycle = {
    get phase() {
      return phase
    },
    signal: controller.signal,
    get closing() {
      return closing
    },
    get timers() {
      return timers.size
    },
    enter(next) {
      phase = next
    },
    use(value) {
      const name = value.constructor?.name ?? 'resource'
      if (Symbol.asyncDispose in value) {
        register(name, async () => {
          await value[Symbol.asyncDispose]()
        })
      } else {
        register(name, () => value[Symbol.dispose]())
      }
      return value
    },
    onStop: register,
    async making(name, work) {
      const entry = { name, work }
      unfinished.add(entry)
      try {
        return await work
      } finally {
        unfinished.delete(entry)
      }
    },
    setInterval(run, every: Duration) {
      const interval = parseTimerDuration(every, 'lifecycle.setInterval')
      if (interval === 0) throw new TypeError('lifecycle.setInterval: must be longer than 0.')
      if (controller.signal.aborted) return track(() => {})
      let running = false
      const tick = async (): Promise<void> => {
        // A run that takes longer than the interval is not started twice.
        if (running) return
        running = true
        await guarded(run)
        running = false
      }
      const timer = setInterval(() => void tick(), interval)
      return track(() => clearInterval(timer))
    },
    setTimeout(run, after: Duration) {
      const delay = parseTimerDuration(after, 'lifecycle.setTimeout')
      if (controller.signal.aborted) return track(() => {})
      const timer = setTimeout(() => {
        timers.delete(tracked)
        void guarded(run)
      }, delay)
      const tracked = track(() => clearTimeout(timer))
      return tracked
    },
    close: () => (closed ??= close()),
    [Symbol.asyncDispose]: () => lifecycle.close(),
  }
  return lifecycle
}
