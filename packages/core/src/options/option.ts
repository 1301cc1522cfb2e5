import { show } from './show.ts'
import type { Problems } from './problems.ts'

/** Reads one value that was given; notes what is wrong with it and answers undefined then. */
export type ReadValue<Value> = (given: unknown, path: string, problems: Problems) => Value | undefined

/**
 * The reader of one option. `undefined` counts as not given: the default applies then, or, where there is none,
 * the option is missing.
 */
export class Option<Value> {
  /** What it takes, in the words of a message: `a port from 0 to 65535`. */
  readonly expected: string
  readonly #read: ReadValue<Value>
  readonly #absent: ReadValue<Value>

  constructor(expected: string, read: ReadValue<Value>, absent: ReadValue<Value> = noteMissing(expected)) {
    this.expected = expected
    this.#read = read
    this.#absent = absent
  }

  read(given: unknown, path: string, problems: Problems): Value | undefined {
    return (given === undefined ? this.#absent : this.#read)(given, path, problems)
  }

  /** The same option with a default. */
  or(fallback: Value): Option<Value> {
    return new Option(this.expected, this.#read, () => fallback)
  }

  /** The same option, which is undefined where it is not given. */
  optional(): Option<Value | undefined> {
    return new Option<Value | undefined>(this.expected, this.#read, () => undefined)
  }

  /** The same option, which must be given, also where it has a default. */
  required(): Option<Value> {
    return new Option(this.expected, this.#read)
  }

  /** The same option, which `false` switches off. */
  orFalse(): Option<Value | false> {
    const read: ReadValue<Value | false> = (given, path, problems) =>
      given === false ? false : this.#read(given, path, problems)
    return new Option<Value | false>(`false or ${this.expected}`, read, this.#absent)
  }

  /** The same option with another value made of the one that was read. A `TypeError` of `change` is a problem. */
  map<Changed>(change: (value: Value, path: string) => Changed): Option<Changed> {
    const changed =
      (read: ReadValue<Value>): ReadValue<Changed> =>
      (given, path, problems) => {
        const before = problems.count
        const value = read(given, path, problems)
        return problems.count > before ? undefined : problems.attempt(() => change(value as Value, path))
      }
    return new Option(this.expected, changed(this.#read), changed(this.#absent))
  }
}

function noteMissing(expected: string): ReadValue<never> {
  return (_given, path, problems) => {
    problems.note(path, `is missing. Give ${expected}.`)
    return undefined
  }
}

/** Notes that a value is not what the option takes. */
export function refuse(given: unknown, expected: string, path: string, problems: Problems): undefined {
  problems.note(path, `${show(given)} is not ${expected}.`)
  return undefined
}
