import { RedisError } from '../errors.ts'

/** Milliseconds that Redis has for an answer, however little time is left. */
export const shortestAnswer = 1_000

/**
 * Waits for an answer of Redis for so many milliseconds at most, and until the signal aborts. The command itself goes
 * on without a caller.
 *
 * @throws RedisError `ERR_REDIS_UNAVAILABLE` when the time is up; the signal's reason.
 */
export async function bounded<T>(answer: Promise<T>, limit: number, signal?: AbortSignal): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const fail = (): void =>
    reject(new RedisError('ERR_REDIS_UNAVAILABLE', `Redis did not answer within ${Math.round(limit)} ms.`))
  // When this process itself was busy for too long, the answer is there and only has to be read: let that go first.
  const timer = setTimeout(() => setImmediate(fail), limit)
  const abort = (): void => reject(signal?.reason as Error)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([answer, ended])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
