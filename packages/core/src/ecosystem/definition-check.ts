import { parseDuration, parseTimerDuration, type Duration } from '../options/duration.ts'
import { describeUnknownKey, nearestKey } from '../options/known-keys.ts'
import { parseSize, type Size } from '../options/size.ts'

/**
 * Reads the parts of a definition and collects everything that is wrong with it, so that an author sees all
 * problems at once. Each reader answers with something of the right type, also where it has noted a problem.
 */
export class DefinitionCheck {
  readonly problems: string[] = []

  /** @throws TypeError naming every problem that was noted. */
  assertSound(title: string): void {
    if (this.problems.length === 0) return
    throw new TypeError(
      `${title} is not valid:\n${this.problems.map((problem) => `- ${problem}`).join('\n')}`,
    )
  }

  note(path: string, problem: string): void {
    this.problems.push(`${path}: ${problem}`)
  }

  /** A plain object with no other keys than the known ones; empty where there is none. */
  object(value: unknown, known: readonly string[], path: string): Readonly<Record<string, unknown>> {
    const members = this.record(value, path)
    for (const key of Object.keys(members)) {
      if (!known.includes(key)) this.problems.push(describeUnknownKey(key, known, path))
    }
    return members
  }

  /** A plain object with keys of any name; empty where there is none. */
  record(value: unknown, path: string): Readonly<Record<string, unknown>> {
    if (value === undefined) return {}
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
    this.note(path, `${show(value)} must be an object.`)
    return {}
  }

  list(value: unknown, path: string): readonly unknown[] {
    if (value === undefined) return []
    if (Array.isArray(value)) return value
    this.note(path, `${show(value)} must be a list.`)
    return []
  }

  duration(value: unknown, fallback: Duration, path: string): number {
    return this.#parse(() => parseDuration((value ?? fallback) as Duration, path))
  }

  /** A duration that a timer waits for. */
  delay(value: unknown, fallback: Duration, path: string): number {
    return this.#parse(() => parseTimerDuration((value ?? fallback) as Duration, path))
  }

  /** A delay that is longer than 0. */
  span(value: unknown, fallback: Duration, path: string): number {
    const known = this.problems.length
    const duration = this.delay(value, fallback, path)
    if (duration === 0 && this.problems.length === known) this.note(path, 'must be longer than 0.')
    return duration
  }

  size(value: unknown, fallback: Size, path: string): number {
    return this.#parse(() => parseSize((value ?? fallback) as Size, path))
  }

  boolean(value: unknown, fallback: boolean, path: string): boolean {
    if (value === undefined) return fallback
    if (typeof value === 'boolean') return value
    this.note(path, `${show(value)} must be true or false.`)
    return fallback
  }

  integer(value: unknown, fallback: number, minimum: number, path: string): number {
    if (value === undefined) return fallback
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum) return value
    this.note(
      path,
      `${show(value)} must be a whole number${minimum > Number.MIN_SAFE_INTEGER ? `, at least ${minimum}` : ''}.`,
    )
    return fallback
  }

  oneOf<const Choice extends string>(
    value: unknown,
    fallback: Choice,
    choices: readonly Choice[],
    path: string,
  ): Choice {
    if (value === undefined) return fallback
    const found = choices.find((choice) => choice === value)
    if (found !== undefined) return found
    const nearest = typeof value === 'string' ? nearestKey(value, choices) : undefined
    this.note(
      path,
      `${show(value)} must be one of ${choices.join(', ')}.${nearest ? ` Did you mean "${nearest}"?` : ''}`,
    )
    return fallback
  }

  /** A name that can stand in a host name, a file name and a database name. */
  name(value: unknown, path: string): string {
    if (typeof value === 'string' && /^[a-z][a-z0-9-]{0,39}$/.test(value)) return value
    this.note(
      path,
      `the name ${show(value)} must start with a lower-case letter and go on with lower-case letters, digits or "-", 40 at most.`,
    )
    return typeof value === 'string' ? value : ''
  }

  text(value: unknown, path: string): string {
    if (typeof value === 'string' && value !== '') return value
    this.note(path, `${show(value)} must be a text that is not empty.`)
    return ''
  }

  names(value: unknown, path: string): readonly string[] {
    const list = this.list(value, path)
    const names = list.filter((item) => typeof item === 'string')
    if (names.length < list.length) this.note(path, 'must hold names only.')
    const twice = names.find((name, index) => names.indexOf(name) !== index)
    if (twice !== undefined) this.note(path, `names "${twice}" twice.`)
    return names
  }

  /** Environment variables: names that a shell accepts, and texts. */
  env(value: unknown, path: string): Readonly<Record<string, string>> {
    const entries = Object.entries(this.record(value, path)).map(([name, text]): [string, string] => {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
        this.note(path, `${JSON.stringify(name)} is not a name of an environment variable.`)
      if (typeof text !== 'string')
        this.note(`${path}.${name}`, 'must be a text. Put numbers and booleans in quotes.')
      return [name, String(text)]
    })
    return Object.fromEntries(entries)
  }

  /** A value that survives JSON, so that it can be handed to another process. */
  json(value: unknown, path: string): unknown {
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
    if (typeof value === 'number' && Number.isFinite(value)) return value
    if (Array.isArray(value)) return value.map((item, index) => this.json(item, `${path}[${index}]`))
    if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, this.json(item, `${path}.${key}`)]),
      )
    }
    this.note(
      path,
      `a ${typeof value} cannot be handed to another process. Give texts, numbers, booleans, lists and plain objects.`,
    )
    return null
  }

  #parse(read: () => number): number {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      this.problems.push(error.message)
      return 0
    }
  }
}

function show(value: unknown): string {
  return value === undefined ? 'a missing value' : (JSON.stringify(value) ?? `a ${typeof value}`)
}
