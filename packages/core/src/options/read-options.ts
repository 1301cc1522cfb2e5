import { describeUnknownKey } from './known-keys.ts'
import type { Option } from './option.ts'
import type { OptionSpec, ResolvedOptions } from './option-spec.ts'
import { Problems } from './problems.ts'
import { kindOf, memberPath } from './show.ts'

/** Notes what is wrong with several options together. A name is below the path of the options; `''` is the whole. */
export type NoteProblem = (name: string, problem: string) => void

export interface ReadOptionsSettings<Spec> {
  /** Checks that concern several options together; run when each of them alone is as it should be. */
  readonly check?: (options: ResolvedOptions<Spec>, note: NoteProblem) => void
  /** The first line of the error, e.g. `The system "media" is not valid`. */
  readonly title?: string
}

/**
 * Reads an options object by its spec, once, at the boundary of a package: the known keys are those of the spec,
 * `undefined` counts as not given, and what it returns is frozen and complete. The caller's object stays as it is.
 *
 * @param path what messages start with, e.g. `http`; empty for none.
 * @throws TypeError naming every problem at once, one a line: its path first, and for an unknown key the nearest
 *   known one.
 *
 * @example
 * const spec = { port: option.port(0), timeout: option.delay('30s'), secret: option.secretText({ minLength: 32 }) }
 * const { port, timeout, secret } = readOptions(options, spec, 'http')
 */
export function readOptions<Options, const Spec extends OptionSpec<Options>>(
  given: Options | undefined,
  spec: Spec,
  path: string,
  settings: ReadOptionsSettings<Spec> = {},
): ResolvedOptions<Spec> {
  const problems = new Problems()
  const options = readMembers(given === undefined ? {} : given, spec, path, problems)
  if (options !== undefined && problems.count === 0) {
    settings.check?.(options, (name, problem) =>
      problems.note(name === '' ? path : memberPath(path, name), problem),
    )
  }
  problems.throwIfAny(settings.title)
  return options as ResolvedOptions<Spec>
}

/** Reads the members of an object by a spec; undefined for what is no object. */
export function readMembers<Spec extends OptionSpec>(
  given: unknown,
  spec: Spec,
  path: string,
  problems: Problems,
): ResolvedOptions<Spec> | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    problems.note(path, `${kindOf(given)} is not an object.`)
    return undefined
  }
  const members = given as Readonly<Record<string, unknown>>
  const readers = Object.entries<Option<unknown>>(spec as Readonly<Record<string, Option<unknown>>>)
  const known = readers.map(([name]) => name)
  for (const key of Object.keys(members)) {
    if (!known.includes(key)) problems.note('', describeUnknownKey(key, known, path))
  }
  const read = readers.map(([name, reader]): [string, unknown] => [
    name,
    reader.read(members[name], memberPath(path, name), problems),
  ])
  return Object.freeze(Object.fromEntries(read)) as ResolvedOptions<Spec>
}
