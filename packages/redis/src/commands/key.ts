/** @throws TypeError for a key that is no text or empty: callers without one would share it. */
export function assertKey(key: unknown, at: string): asserts key is string {
  if (typeof key !== 'string' || key === '')
    throw new TypeError(`${at}: ${key === '' ? 'an empty text' : String(key)} is no key. Give a text.`)
}
