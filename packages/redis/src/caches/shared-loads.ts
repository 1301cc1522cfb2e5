import { RedisError } from '../errors.ts'

/** Single flight: at most one load per key at a time, shared by its callers and bounded in time. */
export class SharedLoads<T> {
  readonly #byKey = new Map<string, Promise<T | undefined>>()
  readonly #timeout: number

  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /**
   * Joins the load of the key or starts one.
   *
   * @throws RedisError `ERR_REDIS_LOAD_TIMEOUT` when it takes too long; the next call then starts anew.
   */
  join(key: string, start: (signal: AbortSignal) => Promise<T | undefined>): Promise<T | undefined> {
    const running = this.#byKey.get(key)
    if (running !== undefined) return running
    const shared = withTimeout(start, this.#timeout, key).finally(() => {
      if (this.#byKey.get(key) === shared) this.#byKey.delete(key)
    })
    this.#byKey.set(key, shared)
    return shared
  }

  /** Callers from now on do not join what is being loaded. */
  forget(key: string): void {
    this.#byKey.delete(key)
  }
}

function withTimeout<T>(
  start: (signal: AbortSignal) => Promise<T>,
  timeout: number,
  key: string,
): Promise<T> {
  const controller = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const timer = setTimeout(() => {
    const error = new RedisError('ERR_REDIS_LOAD_TIMEOUT', `Loading "${key}" took longer than ${timeout} ms.`)
    controller.abort(error)
    reject(error)
  }, timeout)
  start(controller.signal)
    .then(resolve, reject)
    .finally(() => clearTimeout(timer))
  return promise
}
