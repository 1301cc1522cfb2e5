import { timingSafeEqual } from 'node:crypto'

/** Compares two secrets in constant time. Only their lengths can be told from how long it takes. */
export function safeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  const left = typeof a === 'string' ? Buffer.from(a, 'utf8') : a
  const right = typeof b === 'string' ? Buffer.from(b, 'utf8') : b
  return left.length === right.length && timingSafeEqual(left, right)
}
