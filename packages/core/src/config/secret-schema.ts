import { z } from 'zod'
import { Secret } from '../security/secret.ts'

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
  return z
    .string()
    .min(minLength, `must have at least ${minLength} character${minLength === 1 ? '' : 's'}`)
    .transform((text) => new Secret(text))
    .meta({ writeOnly: true })
}
