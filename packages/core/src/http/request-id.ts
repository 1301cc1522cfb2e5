import { randomUUID } from 'node:crypto'

const pattern = /^[\w.:-]{1,128}$/

/** The caller's own request id if it is fit to be logged, else a new one. */
export function requestIdOf(value: unknown): string {
  return typeof value === 'string' && pattern.test(value) ? value : randomUUID()
}

const traceparentPattern = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** The caller's trace position, if it is a valid one. @see W3C Trace Context section 3.2 */
export function traceparentOf(value: unknown): string | undefined {
  return typeof value === 'string' && traceparentPattern.test(value) ? value : undefined
}
