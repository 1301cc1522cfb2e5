import { longestTimer } from '../timing/timers.ts'

/** A time span: milliseconds as a number, or a literal such as `'250ms'`, `'30s'`, `'5m'`, `'2h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Reads a {@link Duration} into milliseconds.
 *
 * @param path names the option in the error, e.g. `http.requestTimeout`.
 * @throws TypeError when the value is negative, not finite or not a duration.
 */
export function parseDuration(value: Duration, path = 'duration'): number {
  if (typeof value === 'number') {
    if (Number.isFinite(value) && value >= 0) return value
  } else if (typeof value === 'string') {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value)
    if (match) return Number(match[1]) * (unitMs[match[2] ?? ''] ?? Number.NaN)
  }
  throw new TypeError(
    `${path}: ${JSON.stringify(value)} is not a duration. Give milliseconds, or a literal such as '30s', '5m' or '250ms'.`,
  )
}

/**
 * Reads a {@link Duration} that a timer will wait for.
 *
 * @throws TypeError as `parseDuration`, and when no timer can wait that long.
 */
export function parseTimerDuration(value: Duration, path: string): number {
  const duration = parseDuration(value, path)
  if (duration <= longestTimer) return duration
  throw new TypeError(
    `${path}: ${JSON.stringify(value)} is longer than a timer can wait. Give 24 days at most.`,
  )
}
