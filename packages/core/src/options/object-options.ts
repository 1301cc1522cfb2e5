import { systemClock, type Clock } from '../clock.ts'
import { silentLogger, type Logger } from '../logging/logger.ts'
import { Option, refuse } from './option.ts'
import type { OptionSpec, ResolvedOptions } from './option-spec.ts'
import { Problems } from './problems.ts'
import { readMembers } from './read-options.ts'
import { kindOf, memberPath, show } from './show.ts'

/**
 * Options below an option. What is not given has the defaults of the spec.
 *
 * @param shorthand the one member that a value stands for which is no plain object: `'url'` reads a text as
 *   `{ url: text }`.
 */
export function nested<const Spec extends OptionSpec<Spec>>(
  spec: Spec,
  { shorthand }: { readonly shorthand?: keyof Spec & string } = {},
): Option<ResolvedOptions<Spec>> {
  const read = (given: unknown, path: string, problems: Problems): ResolvedOptions<Spec> | undefined => {
    const isShort = shorthand !== undefined && (typeof given !== 'object' || Array.isArray(given))
    return readMembers(isShort ? { [shorthand]: given } : given, spec, path, problems)
  }
  return new Option('an object', read, (_given, path, problems) => readMembers({}, spec, path, problems))
}

export interface ListForm<Item> {
  /** How many items there must be. @defaultValue 0 */
  readonly min?: number
  /** What no two items may share, e.g. their name. */
  readonly unique?: (item: Item) => unknown
}

/** A list. Empty where it is not given, as far as it may be. */
export function list<Item>(
  item: Option<Item>,
  { min = 0, unique }: ListForm<Item> = {},
): Option<readonly Item[]> {
  const expected = min === 0 ? 'a list' : `a list of at least ${min}, each ${item.expected}`
  const read = (given: unknown, path: string, problems: Problems): readonly Item[] | undefined => {
    if (!Array.isArray(given)) return refuseKind(given, expected, path, problems)
    if (given.length < min)
      problems.note(path, `has ${given.length} of at least ${min}, each ${item.expected}.`)
    const before = problems.count
    const items = given.map((each, index) => item.read(each, `${path}[${index}]`, problems))
    if (problems.count > before) return undefined
    if (unique !== undefined) refuseTwice((items as Item[]).map(unique), path, problems)
    return Object.freeze(items as Item[])
  }
  const reader = new Option(expected, read)
  return min === 0 ? reader.or(Object.freeze<Item[]>([])) : reader
}

function refuseTwice(keys: readonly unknown[], path: string, problems: Problems): void {
  const twice = new Set(keys.filter((key, index) => keys.indexOf(key) !== index))
  for (const key of twice) problems.note(path, `holds ${show(key)} twice.`)
}

/** An object with keys of any name, all of whose values are read alike. Empty where it is not given. */
export function record<Item>(
  item: Option<Item>,
  { key }: { readonly key?: Option<string> } = {},
): Option<Readonly<Record<string, Item>>> {
  return new Option<Readonly<Record<string, Item>>>('an object', (given, path, problems) => {
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      return refuseKind(given, 'an object', path, problems)
    const entries = Object.entries(given).filter(([, value]) => value !== undefined)
    const read = entries.map(([name, value]) => {
      key?.read(name, memberPath(path, name), problems)
      return [name, item.read(value, memberPath(path, name), problems)] as const
    })
    return Object.freeze(Object.fromEntries(read)) as Readonly<Record<string, Item>>
  }).or(Object.freeze({}))
}

/** A function. */
export function callable<Fn extends (...args: never[]) => unknown>(fallback?: Fn): Option<Fn> {
  const reader = new Option<Fn>('a function', (given, path, problems) =>
    typeof given === 'function' ? (given as Fn) : refuse(given, 'a function', path, problems),
  )
  return fallback === undefined ? reader : reader.or(fallback)
}

/**
 * An object that is used through some methods, e.g. a client of Redis. It is taken as it is.
 *
 * @param expected in words, e.g. `'an ioredis client'`.
 */
export function collaborator<Shape extends object>(
  methods: readonly (keyof Shape & string)[],
  expected: string,
): Option<Shape> {
  return new Option<Shape>(expected, (given, path, problems) => {
    const isObject = (typeof given === 'object' && given !== null) || typeof given === 'function'
    if (!isObject) return refuseKind(given, expected, path, problems)
    const missing = methods.filter(
      (method) => typeof (given as Record<string, unknown>)[method] !== 'function',
    )
    if (missing.length === 0) return given as Shape
    problems.note(path, `is not ${expected}: it has no ${missing.map((method) => `${method}()`).join(', ')}.`)
    return undefined
  })
}

/** A {@link Logger}; the silent one where none is given. */
export function logger(): Option<Logger> {
  return collaborator<Logger>(['debug', 'info', 'warn', 'error', 'child'], 'a logger').or(silentLogger)
}

/** A {@link Clock}; the system's where none is given. */
export function clock(): Option<Clock> {
  return collaborator<Clock>(['now', 'monotonic'], 'a clock').or(systemClock)
}

/** A signal that ends what the options are for; undefined where none is given. */
export function signal(): Option<AbortSignal | undefined> {
  return new Option<AbortSignal>('an AbortSignal', (given, path, problems) =>
    given instanceof AbortSignal ? given : refuse(given, 'an AbortSignal', path, problems),
  ).optional()
}

/** The first of two kinds that takes what is given. */
export function either<First, Second>(first: Option<First>, second: Option<Second>): Option<First | Second> {
  const expected = `${first.expected} or ${second.expected}`
  return new Option<First | Second>(expected, (given, path, problems) => {
    for (const reader of [first, second]) {
      const attempt = new Problems()
      const value = reader.read(given, path, attempt)
      if (attempt.count === 0) return value
    }
    return refuseKind(given, expected, path, problems)
  })
}

/**
 * A value that a function reads which throws a `TypeError` for what it does not take, with the path in its message.
 * With this a package adds a kind of its own.
 */
export function parsed<Value>(
  expected: string,
  parse: (given: unknown, path: string) => Value,
): Option<Value> {
  return new Option<Value>(expected, (given, path, problems) => problems.attempt(() => parse(given, path)))
}

/** A value that survives JSON, so that it can be handed to another process. */
export function json(): Option<unknown> {
  const expected =
    'plain data that can be handed to another process: texts, numbers, booleans, lists and objects'
  return new Option<unknown>(expected, (given, path, problems) =>
    isJson(given) ? structuredClone(given) : refuse(given, expected, path, problems),
  )
}

function isJson(value: unknown): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value)
  if (Array.isArray(value)) return value.every(isJson)
  return (
    typeof value === 'object' &&
    Object.getPrototypeOf(value) === Object.prototype &&
    Object.values(value).every(isJson)
  )
}

/** Notes what was given by its kind alone: where an object or list is expected, a text may be a secret. */
function refuseKind(given: unknown, expected: string, path: string, problems: Problems): undefined {
  problems.note(path, `${kindOf(given)} is not ${expected}.`)
  return undefined
}
