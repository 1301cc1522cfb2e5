import { RealtimeError } from '../errors.ts'
import type { RealtimeRedis } from './redis-port.ts'

/**
 * Runs a script in Redis.
 *
 * @throws RealtimeError `ERR_REALTIME_UNAVAILABLE` for whatever Redis or its client fails with.
 */
export async function runScript(
  redis: RealtimeRedis,
  script: string,
  keys: readonly string[],
  values: readonly (string | number)[],
): Promise<readonly unknown[]> {
  try {
    return (await redis.eval(script, keys.length, ...keys, ...values)) as readonly unknown[]
  } catch (cause) {
    throw unavailable(cause)
  }
}

/** The error of a channel whose Redis fails. */
export function unavailable(cause: unknown): RealtimeError {
  return new RealtimeError(
    'ERR_REALTIME_UNAVAILABLE',
    'The channel cannot be reached now. Try again shortly.',
    { retryAfter: 1_000, cause },
  )
}
