import type { Duration } from '@quintet/core'
import { option, parseDuration } from '@quintet/core/kit'

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

const noHistory: History = { length: 0, maxAge: parseDuration(historyDefaults.maxAge) }

/** {@link HistoryOptions}, or `false` for no history. */
export const historyOption = option
  .nested({
    length: option.count(historyDefaults.length, { min: 1, max: 1_000_000 }),
    maxAge: option.duration(historyDefaults.maxAge, { min: 1_000 }),
  })
  .orFalse()
  .map((history): History => (history === false ? noHistory : history))
