import { toQuintetError } from '@quintet/core/kit'
import { RedisError } from '../errors.ts'

/** Loads within a time limit; `isCurrent` says whether the key was forgotten since. */
type Start<T> = (signal: AbortSignal, isCurrent: () => boolean) => Promise<T>

/** Single flight: at most one load per key at a time, shared by its callers and bounded in time. */
export class SharedLoads<T> {
  readonly #byKey = new Map<string, Promise<T>>()
  readonly #timeout: number

  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /**
   * Joins the load of the key or starts one, in the async context of this call. One that ended because the caller who
   * started it has left, or had no more time, fails that caller alone: the others load anew.
   *
   * @throws RedisError `ERR_REDIS_LOAD_TIMEOUT` when it takes too long; the next call then starts anew.
   */
  async join(key: string, start: Start<T>): Promise<T> {
    let timedOut = false
    for (;;) {
      const running = this.#byKey.get(key)
      if (running === undefined) return this.#start(key, start)
      try {
        return await running
      } catch (error) {
        const { code, kind } = toQuintetError(error)
        const left = kind === 'canceled' || (kind === 'timeout' && code !== loadTimeout && !timedOut)
        if (!left) throw error
        // A source that is too slow for everybody is asked once more, and not by one caller after the other.
        timedOut ||= kind === 'timeout'
      }
    }
  }

  #start(key: string, start: Start<T>): Promise<T> {
    const isCurrent = (): boolean => this.#byKey.get(key) === shared
    const shared = withinTime((signal) => start(signal, isCurrent), this.#timeout, key).finally(() => {
      if (isCurrent()) this.#byKey.delete(key)
    })
    this.#byKey.set(key, shared)
    return shared
  }

  /** Callers from now on do not join what is being loaded. */
  forget(key: string): void {
    this.#byKey.delete(key)
  }

  /** The same for all keys. */
  forgetAll(): void {
    this.#byKey.clear()
  }
}

const loadTimeout = 'ERR_REDIS_LOAD_TIMEOUT'

/** @throws RedisError `ERR_REDIS_LOAD_TIMEOUT` when it takes longer; the signal then aborts. */
export function withinTime<T>(
  start: (signal: AbortSignal) => Promise<T>,
  timeout: number,
  key: string,
): Promise<T> {
  const controller = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const timer = setTimeout(() => {
    const error = new RedisError(loadTimeout, `Loading "${key}" took longer than ${timeout} ms.`)
    controller.abort(error)
    reject(error)
  }, timeout)
  start(controller.signal)
    .then(resolve, reject)
    .finally(() => clearTimeout(timer))
  return promise
}
