import { parseTimerDuration, type Duration } from '../options/duration.ts'
import type { Lifecycle, Phase } from './lifecycle.ts'
import type { Logger } from '../logging/logger.ts'

/** A {@link Lifecycle} with the handles by which its owner moves it along. */
export interface OwnedLifecycle extends Lifecycle, AsyncDisposable {
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

/** Makes the lifecycle of one process. */
export function createLifecycle(options: LifecycleOptions): OwnedLifecycle {
  const { logger } = options
  const controller = new AbortController()
  const timers = new Set<Disposable>()
  const stops: { readonly name: string; readonly stop: () => Promise<void> | void }[] = []
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
    if (closed !== undefined) throw new Error(`lifecycle: "${name}" comes too late; the process has stopped.`)
    stops.push({ name, stop })
  }

  const close = async (): Promise<void> => {
    controller.abort(new DOMException('The process has stopped.', 'AbortError'))
    for (const timer of timers) timer[Symbol.dispose]()
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
