/**
 * What a caller's `parse` makes of data that came over the wire.
 *
 * @throws TypeError for a `parse` that gives a promise: its data would pass unchecked.
 */
export function parsed<T>(parse: (data: unknown) => T, data: unknown): T {
  const value = parse(data)
  if (!isPromise(value)) return value
  value.then(undefined, () => undefined)
  throw new TypeError('parse gave a promise. Check the data at once.')
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
