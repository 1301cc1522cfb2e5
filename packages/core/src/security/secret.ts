const brand = Symbol.for('quintet.secret')
const inspect = Symbol.for('nodejs.util.inspect.custom')
const mask = '[secret]'

/** A secret as options take it: the text, or an object that gives the text on request, such as {@link Secret}. */
export type SecretText = string | { reveal(): string }

/** A text that does not show itself: not in messages, logs, JSON or `inspect`. Only {@link Secret.reveal} gives it. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    Object.defineProperty(this, brand, { value: true })
    Object.defineProperty(this, inspect, { value: () => mask })
  }

  /** The text itself, for the one place that needs it. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return mask
  }

  toJSON(): string {
    return mask
  }

  [Symbol.toPrimitive](): string {
    return mask
  }
}

/** Recognises a {@link Secret}, also one made by another installed copy of this package. */
export function isSecret(value: unknown): value is Secret {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true
}

/** The text of a secret as options take it. */
export function revealText(secret: SecretText): string {
  return typeof secret === 'string' ? secret : secret.reveal()
}
