import type { Duration } from '@quintet/core'
import { option, type Option, type ResolvedOptions } from '@quintet/core/kit'

export interface EjectionOptions {
  /** How many failures in a row take an upstream out of use. @defaultValue 5 */
  readonly failures?: number
  /** For how long, times the number of ejections in a row. @defaultValue `'5s'` */
  readonly duration?: Duration
  /** The longest ejection. @defaultValue `'60s'` */
  readonly maxDuration?: Duration
  /** The largest part of a route's upstreams that may be out of use at once, in percent. @defaultValue 50 */
  readonly maxEjectedPercent?: number
}

export const ejectionDefaults = Object.freeze({
  failures: 5,
  duration: '5s',
  maxDuration: '60s',
  maxEjectedPercent: 50,
} as const)

const spec = {
  failures: option.count(ejectionDefaults.failures, { min: 1, max: 1_000 }),
  duration: option.duration(ejectionDefaults.duration),
  maxDuration: option.duration(ejectionDefaults.maxDuration),
  maxEjectedPercent: option.count(ejectionDefaults.maxEjectedPercent, { min: 0, max: 100 }),
}

export type ResolvedEjection = ResolvedOptions<typeof spec>

/** How {@link EjectionOptions} are read. */
export const ejectionOption: Option<ResolvedEjection> = option.nested(spec).map((value, path) => {
  if (value.maxDuration >= value.duration) return value
  throw new TypeError(`${path}.maxDuration: is shorter than duration. Give at least as much.`)
})
