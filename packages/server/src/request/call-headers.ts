import { serverError } from '../errors.ts'

const traceparentPattern = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const deadlinePattern = /^\d{1,10}$/

/** The caller's trace position, if it is a valid one. @see W3C Trace Context section 3.2 */
export function traceparentOf(value: unknown): string | undefined {
  return typeof value === 'string' && traceparentPattern.test(value) ? value : undefined
}

/**
 * When a call must be over, in milliseconds since the epoch, for a caller that says how many milliseconds
 * it will wait.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST`.
 */
export function deadlineOf(remaining: unknown): number | undefined {
  if (remaining === undefined) return undefined
  const text = String(remaining)
  if (deadlinePattern.test(text)) return Date.now() + Number(text)
  throw serverError('ERR_SERVER_BAD_REQUEST', 'The deadline must be a whole number of milliseconds.')
}
