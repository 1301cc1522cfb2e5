import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import type { z } from 'zod'

const brand = Symbol.for('quintet.secret')
const mask = '[secret]'

/** A text that does not show itself: not in messages, logs, JSON or `inspect`. Only {@link Secret.reveal} gives it. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    Object.defineProperty(this, brand, { value: true })
    Object.defineProperty(this, inspect.custom, { value: () => mask })
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

export interface SecretOptions {
  /** The fewest characters it may have. @defaultValue 1 */
  readonly minLength?: number
}

/**
 * A zod schema for a text that must stay secret. Its value is a {@link Secret}; problems with it never show what
 * was given. `"00123"` stays the text that it is.
 *
 * @example
 * const Config = z.object({ apiKey: secret({ minLength: 32 }) })
 */
export function secret(options: SecretOptions = {}): z.ZodType<Secret, string> {
  const minLength = options.minLength ?? 1
  const schema = loadZod()
    .z.string()
    .min(minLength, `must have at least ${minLength} character${minLength === 1 ? '' : 's'}`)
    .transform((text) => new Secret(text))
  // zod shares the definition with every schema derived from this one, e.g. by describe().
  const { _zod: internals } = schema
  Object.defineProperty(internals.def, brand, { value: true, enumerable: true })
  return schema
}

/** Whether a zod definition is that of a schema made by {@link secret}. */
export function isSecretDefinition(definition: object): boolean {
  return (definition as Record<symbol, unknown>)[brand] === true
}

/**
 * zod takes longer to load than all of this package. Whoever has no secrets in a schema does not pay for it, and
 * whoever has one has loaded zod already: this gives the same module instance.
 */
function loadZod(): typeof import('zod') {
  return createRequire(import.meta.url)(fileURLToPath(import.meta.resolve('zod'))) as typeof import('zod')
}
