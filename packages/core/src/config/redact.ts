import { isSecret } from '../security/secret.ts'

const sensitive = /(pass(word|phrase)?|secret|token|credential|private_?key|api_?key)s?$/i

/** A configuration value as it may be shown: secrets and the passwords in URLs are left out. */
export function redact(path: readonly string[], value: unknown): unknown {
  if (isSecret(value)) return '[secret]'
  const isPlain = typeof value === 'string' || typeof value === 'number'
  if (isPlain && path.some((segment) => sensitive.test(segment))) return '[redacted]'
  if (typeof value === 'string')
    return value.replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]*@/gi, '$1:[redacted]@')
  return value
}
