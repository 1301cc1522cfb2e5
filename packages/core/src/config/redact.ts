import { isSecret } from '../security/secret.ts'
import { isSensitiveName } from '../logging/sensitive-names.ts'

/** A configuration value as it may be shown: secrets and the passwords in URLs are left out. */
export function redact(path: readonly string[], value: unknown): unknown {
  if (isSecret(value)) return '[secret]'
  const isPlain = typeof value === 'string' || typeof value === 'number'
  if (isPlain && path.some(isSensitiveName)) return '[redacted]'
  return typeof value === 'string' ? redactPasswords(value) : value
}

/**
 * A text without what may be a password in a URL, also in one that cannot be parsed: everything from the first colon
 * behind the scheme to the last `@`, and the values of parameters that are named like a secret.
 */
function redactPasswords(text: string): string {
  return text
    .replaceAll(/^([a-z][a-z0-9+.-]*:\/\/)?([^\s:]*):.*@/gis, '$1$2:[redacted]@')
    .replaceAll(/([?&][^=&\s]*(?:pass|secret|token|key|signature)[^=&\s]*=)[^&\s]*/gi, '$1[redacted]')
}
