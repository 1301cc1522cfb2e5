import { isSensitiveName } from './sensitive-names.ts'

const depth = 4
const censor = '[redacted]'

/** Whether a name is that of a secret, for names that have been seen: lines have the same few again and again. */
const seen = new Map<string, boolean>()
/** More names are not remembered. */
const maxSeen = 1_000

function isSecret(name: string): boolean {
  const known = seen.get(name)
  if (known !== undefined) return known
  const secret = isSensitiveName(name)
  if (seen.size < maxSeen) seen.set(name, secret)
  return secret
}

/**
 * The fields with the values of secret ones replaced, however deep they stand (four levels are looked at). Copies
 * only what it changes: a line without secrets costs a walk over its names.
 */
export function redactFields(fields: object, levels: number = depth): object {
  let copy: Record<string, unknown> | undefined
  for (const name of Object.keys(fields)) {
    const value: unknown = (fields as Record<string, unknown>)[name]
    // Most values hold nothing.
    if (typeof value !== 'object' && !isSecret(name)) continue
    const replaced = isSecret(name) ? censor : redactValue(value, levels)
    if (replaced !== value) (copy ??= { ...fields })[name] = replaced
  }
  return copy ?? fields
}

function redactValue(value: unknown, levels: number): unknown {
  if (typeof value !== 'object' || value === null || levels <= 1) return value
  if (Array.isArray(value)) {
    const items = value.map((item) => redactValue(item, levels - 1))
    return items.some((item, index) => item !== value[index]) ? items : value
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? redactFields(value, levels - 1) : value
}
