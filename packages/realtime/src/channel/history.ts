import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'

/** How much of a channel can be replayed. */
export interface HistoryOptions {
  /** About how many of the last events are kept. @defaultValue 1000 */
  readonly length?: number
  /** For how long after the last one. @defaultValue `'10m'` */
  readonly maxAge?: Duration
}

/** What applies where {@link HistoryOptions} says nothing. */
export const historyDefaults = Object.freeze({ length: 1_000, maxAge: '10m' } as const)

/** The part of a history that matters where events are written. */
export interface History {
  /** 0 for none. */
  readonly length: number
  /** Milliseconds. */
  readonly maxAge: number
}

/** @throws TypeError */
export function resolveHistory(options: false | HistoryOptions | undefined, path: string): History {
  if (options === false) return { length: 0, maxAge: parseDuration(historyDefaults.maxAge) }
  const { length = historyDefaults.length, maxAge = historyDefaults.maxAge } = options ?? {}
  refuseUnknownKeys(options ?? {}, Object.keys(historyDefaults), path)
  if (!Number.isInteger(length) || length < 1 || length > 1_000_000)
    throw new TypeError(`${path}.length: ${JSON.stringify(length)} is not a whole number from 1 to 1000000.`)
  const milliseconds = parseDuration(maxAge, `${path}.maxAge`)
  if (milliseconds < 1_000) throw new TypeError(`${path}.maxAge: must be one second or more.`)
  return { length, maxAge: milliseconds }
}
