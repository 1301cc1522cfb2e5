/** What kind of thing a value is, for the error about one that was not expected. */
export function describeKind(value: unknown): string {
  if (value instanceof Promise) return 'a promise'
  return typeof value === 'object' && value !== null ? 'another object' : String(value)
}
