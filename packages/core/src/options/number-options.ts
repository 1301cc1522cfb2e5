import { parseDuration, parseTimerDuration, type Duration } from './duration.ts'
import { Option, refuse } from './option.ts'
import { parseSize, type Size } from './size.ts'

/** The bounds of a number; both are included. */
export interface Bounds<Bound = number> {
  readonly min?: Bound
  readonly max?: Bound
}

/** A whole number, 0 or more where no bounds are given. */
export function count(fallback?: number, { min = 0, max }: Bounds = {}): Option<number> {
  return numeral('a whole number', Number.isSafeInteger, fallback, {
    min,
    ...(max === undefined ? {} : { max }),
  })
}

/** A finite number, also a fraction. */
export function number(fallback?: number, bounds: Bounds = {}): Option<number> {
  return numeral('a number', Number.isFinite, fallback, bounds)
}

/** A TCP port; 0 is any free one. */
export function port(fallback?: number): Option<number> {
  return numeral('a port', Number.isInteger, fallback, { min: 0, max: 65_535 })
}

/** The file descriptor of a socket that the process has inherited; 0, 1 and 2 are input, output and errors. */
export function descriptor(): Option<number> {
  return numeral('a file descriptor', Number.isSafeInteger, undefined, { min: 3 })
}

/** A {@link Duration} of any length, in milliseconds. */
export function duration(fallback?: Duration, bounds: Bounds<Duration> = {}): Option<number> {
  return measure("a duration such as '30s'", parseDuration, fallback, bounds, 'ms')
}

/** A {@link Duration} that a timer can wait for: 24 days at most; in milliseconds. */
export function delay(fallback?: Duration, bounds: Bounds<Duration> = {}): Option<number> {
  return measure("a duration such as '30s'", parseTimerDuration, fallback, bounds, 'ms')
}

/** A {@link Size} in bytes. A default of `Infinity` is no limit. */
export function size(fallback?: Size, bounds: Bounds<Size> = {}): Option<number> {
  return measure("a size such as '1mb'", parseSize, fallback, bounds, 'bytes')
}

function numeral(
  noun: string,
  isValid: (value: number) => boolean,
  fallback: number | undefined,
  { min = -Infinity, max = Infinity }: Bounds,
): Option<number> {
  const expected = `${noun}${range(min, max)}`
  return withDefault(
    new Option(expected, (given, path, problems) => {
      const fits = typeof given === 'number' && isValid(given) && given >= min && given <= max
      return fits ? given : refuse(given, expected, path, problems)
    }),
    fallback,
  )
}

function range(min: number, max: number): string {
  const hasMin = min > Number.MIN_SAFE_INTEGER
  if (hasMin && max < Infinity) return ` from ${min} to ${max}`
  if (hasMin) return ` of at least ${min}`
  return max < Infinity ? ` of at most ${max}` : ''
}

function measure<Literal extends Duration | Size>(
  expected: string,
  parse: (value: Literal, path: string) => number,
  fallback: Literal | undefined,
  bounds: Bounds<Literal>,
  unit: string,
): Option<number> {
  const read = (literal: Literal): number =>
    typeof literal === 'number' ? literal : parse(literal, 'a default or bound')
  const min = bounds.min === undefined ? 0 : read(bounds.min)
  const max = bounds.max === undefined ? Infinity : read(bounds.max)
  return withDefault(
    new Option(expected, (given, path, problems) => {
      const value = problems.attempt(() => parse(given as Literal, path))
      if (value === undefined) return undefined
      if (value < min) problems.note(path, `${value} ${unit} is too small. Give ${min} ${unit} or more.`)
      if (value > max) problems.note(path, `${value} ${unit} is too large. Give ${max} ${unit} or less.`)
      return value
    }),
    fallback === undefined ? undefined : read(fallback),
  )
}

/** The option with a default, where there is one. */
export function withDefault<Value>(reader: Option<Value>, fallback: Value | undefined): Option<Value> {
  return fallback === undefined ? reader : reader.or(fallback)
}
