import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How late the event loop runs, in milliseconds, over the last ten to twenty seconds. */
export interface EventLoopDelay {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Watches how late the event loop runs. */
export interface EventLoopWatch extends Disposable {
  read(): EventLoopDelay
}

/** Milliseconds between two samples. */
const resolution = 50
/** Milliseconds after which old samples are let go. */
const windowMs = 10_000

/** Starts to watch the event loop; its timers do not keep the process alive. */
export function watchEventLoop(): EventLoopWatch {
  const histogram = monitorEventLoopDelay({ resolution })
  histogram.enable()
  let previous: EventLoopDelay = { p50: 0, p99: 0, max: 0 }
  const current = (): EventLoopDelay =>
    histogram.count === 0
      ? { p50: 0, p99: 0, max: 0 }
      : {
          p50: toDelay(histogram.percentile(50)),
          p99: toDelay(histogram.percentile(99)),
          max: toDelay(histogram.max),
        }
  const timer = setInterval(() => {
    previous = current()
    histogram.reset()
  }, windowMs)
  timer.unref()
  return {
    read() {
      const now = current()
      // A young window says too little about the middle; the older one stands in until there is enough.
      const p50 = histogram.count < 20 ? Math.max(previous.p50, now.p50) : now.p50
      return { p50, p99: Math.max(previous.p99, now.p99), max: Math.max(previous.max, now.max) }
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      histogram.disable()
    },
  }
}

/** The histogram holds the whole time between two samples, in nanoseconds. */
function toDelay(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - resolution)
}
