import { QuintetError } from '../errors.ts'
import type { Duration } from '../options/duration.ts'
import { option } from '../options/options.ts'
import { readOptions } from '../options/read-options.ts'

export interface KeyedSemaphoreOptions {
  /** How many work at once. */
  readonly total: number
  /** How many of one key, e.g. of one tenant or one address. */
  readonly perKey: number
  /** How many of one key may wait; further ones are refused. @defaultValue 16 */
  readonly waitingPerKey?: number
  /**
   * How many may wait in all. Of more than that the newest of the longest line is refused, so that the keys which ask for much
   * take no place from those which ask for little. @defaultValue 1000
   */
  readonly waiting?: number
  /** How long one may wait; then it is refused. @defaultValue as long as its signal allows */
  readonly maxWait?: Duration
}

/** What applies where {@link KeyedSemaphoreOptions} says nothing. */
export const keyedSemaphoreDefaults = Object.freeze({ waitingPerKey: 16, waiting: 1_000 } as const)

/** A keyed semaphore, bounded concurrency with a bound for each key: work of one key holds up that of its own key alone. */
export interface KeyedSemaphore {
  /**
   * Runs work when it is its turn; keys take turns, and the work of one key keeps its order.
   *
   * @throws QuintetError `ERR_CORE_RATE_LIMITED` when too much waits already, or it has waited for `maxWait`, and the signal's
   *   reason when that aborts first.
   */
  take<Result>(key: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result>
}

interface Waiting {
  readonly begin: () => void
  readonly leave: (reason: unknown) => void
}

const spec = {
  total: option.count(undefined, { min: 1 }),
  perKey: option.count(undefined, { min: 1 }),
  waitingPerKey: option.count(keyedSemaphoreDefaults.waitingPerKey, { min: 0 }),
  waiting: option.count(keyedSemaphoreDefaults.waiting, { min: 0 }),
  maxWait: option.delay().optional(),
}

/**
 * Makes a keyed semaphore for costly work.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const hashing = createKeyedSemaphore({ total: 2, perKey: 1 })
 * await hashing.take(client.address ?? '', signal, () => hashPassword(password))
 */
export function createKeyedSemaphore(options: KeyedSemaphoreOptions): KeyedSemaphore {
  const limits = readOptions<KeyedSemaphoreOptions, typeof spec>(options, spec, 'createKeyedSemaphore')
  const working = new Map<string, number>()
  /** By key, in the order in which keys began to wait; a key that had its turn goes to the end. */
  const lines = new Map<string, Waiting[]>()
  let [busy, waiting] = [0, 0]

  const isFree = (key: string): boolean => busy < limits.total && (working.get(key) ?? 0) < limits.perKey
  const count = (key: string, by: 1 | -1): void => {
    busy += by
    const left = (working.get(key) ?? 0) + by
    if (left === 0) working.delete(key)
    else working.set(key, left)
  }
  const leaveLine = (key: string, one: Waiting): void => {
    const line = lines.get(key)
    const index = line?.indexOf(one) ?? -1
    if (line === undefined || index < 0) return
    line.splice(index, 1)
    waiting--
    if (line.length === 0) lines.delete(key)
  }
  const next = (): void => {
    for (const [key, line] of lines) {
      const [first] = line
      if (first === undefined || !isFree(key)) continue
      leaveLine(key, first)
      if (lines.delete(key)) lines.set(key, line)
      count(key, 1)
      first.begin()
      return
    }
  }
  /** Finds a place for one more of a line, if need be that of the newest of a longer one. */
  const makePlace = (line: readonly Waiting[]): void => {
    if (line.length >= limits.waitingPerKey) throw tooMuch()
    if (waiting < limits.waiting) return
    let longest = line
    for (const each of lines.values()) if (each.length > longest.length) longest = each
    if (longest.length <= line.length + 1) throw tooMuch()
    longest.at(-1)?.leave(tooMuch())
  }

  async function turn(key: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (isFree(key)) return count(key, 1)
    const line = lines.get(key) ?? []
    makePlace(line)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const one: Waiting = {
      begin: resolve,
      leave(reason) {
        leaveLine(key, one)
        reject(reason)
      },
    }
    lines.set(key, line)
    line.push(one)
    waiting++
    const onAbort = (): void => one.leave(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const timer =
      limits.maxWait === undefined ? undefined : setTimeout(() => one.leave(tooMuch()), limits.maxWait)
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  return {
    async take(key, signal, work) {
      await turn(key, signal)
      try {
        return await work()
      } finally {
        count(key, -1)
        next()
      }
    },
  }
}

function tooMuch(): QuintetError {
  return new QuintetError('Too much of this is in progress. Try again shortly.', {
    code: 'ERR_CORE_RATE_LIMITED',
    kind: 'rate-limited',
    retryAfter: 1_000,
  })
}
