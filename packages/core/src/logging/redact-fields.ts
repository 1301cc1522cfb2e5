/** Field names whose values never reach a log line, in lower case. */
const secretFields: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'accesstoken',
  'refreshtoken',
  'set-cookie',
])

const depth = 4
const censor = '[redacted]'

/**
 * The fields with the values of secret ones replaced, however deep they stand (four levels are looked at). Copies
 * only what it changes: a line without secrets costs a walk over its names.
 */
export function redactFields(fields: object, levels: number = depth): object {
  let copy: Record<string, unknown> | undefined
  for (const name of Object.keys(fields)) {
    const value: unknown = (fields as Record<string, unknown>)[name]
    const replaced = secretFields.has(name.toLowerCase()) ? censor : redactValue(value, levels)
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
