import { afterReads, longestTimer } from './timers.ts'

/** Work that can be told to end: its signal aborts when its time is over, or when the caller's signal does. */
export type TimedWork<Result> = (signal: AbortSignal) => PromiseLike<Result> | Result

/**
 * Waits for work within a time limit. Work that fails later, when it is not waited for any more, fails unheard. What has
 * arrived while the process stood still is in time.
 *
 * @param ms the time; one that no timer can hold is no limit.
 * @param late what the promise rejects with: a message, for a `TimeoutError`, or a function that makes the error.
 * @param signal ends the wait with its reason.
 *
 * @example
 * const answer = await within(2_000, fetchKeys(), 'The issuer has not answered within 2 s.', signal)
 */
export function within<Result>(
  ms: number,
  work: PromiseLike<Result> | TimedWork<Result>,
  late: string | (() => unknown),
  signal?: AbortSignal,
): Promise<Result> {
  if (signal?.aborted === true) {
    if (typeof work !== 'function') Promise.resolve(work).catch(() => {})
    return Promise.reject(signal.reason as Error)
  }
  const own = typeof work === 'function' ? new AbortController() : undefined
  return new Promise((resolve, reject) => {
    let over = false
    const finish = (): void => {
      over = true
      clearTimeout(timer)
      signal?.removeEventListener('abort', leave)
    }
    const giveUp = (reason: unknown): void => {
      if (over) return
      finish()
      reject(reason as Error)
      own?.abort(reason)
    }
    const leave = (): void => giveUp(signal?.reason)
    const onLate = (): void =>
      giveUp(typeof late === 'string' ? new DOMException(late, 'TimeoutError') : late())
    const timer = ms <= longestTimer ? setTimeout(() => afterReads(onLate), ms) : undefined
    signal?.addEventListener('abort', leave, { once: true })
    const pending = typeof work === 'function' ? started(work, own?.signal as AbortSignal) : work
    pending.then(
      (result) => {
        finish()
        resolve(result)
      },
      (error: unknown) => {
        finish()
        reject(error as Error)
      },
    )
  })
}

/** What is thrown before it returns is a rejection too. */
function started<Result>(work: TimedWork<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve) => resolve(work(signal)))
}

/** Waits for a promise no longer than until the signal aborts. @throws the signal's reason. */
export function orAborted<Result>(
  promise: Result | PromiseLike<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  return within(Number.POSITIVE_INFINITY, Promise.resolve(promise), '', signal)
}
