import type { Circuit } from './circuit.ts'
import { describeFailure, isRedisRefusal, RedisError } from '../errors.ts'
import type { GuardedClient } from './guarded-redis.ts'
import type { ResolvedOptions } from './resolve-clients-options.ts'

/**
 * Resolves when the client is ready, and keeps trying until then.
 *
 * @throws RedisError `ERR_REDIS_REFUSED` at once when the server refuses us, `ERR_REDIS_UNAVAILABLE` with
 * the reason after `connectTimeout`.
 */
export async function connectEagerly(
  name: string,
  connection: GuardedClient,
  circuit: () => Circuit,
  { connectTimeout, signal, logger }: Pick<ResolvedOptions, 'connectTimeout' | 'signal' | 'logger'>,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const refused = (error: unknown): void => {
    if (isRedisRefusal(error)) reject(error)
  }
  const late = (): void => {
    const reason = circuit().reason ?? 'no answer'
    const message = `Redis client "${name}" found no server within ${connectTimeout} ms: ${reason}`
    reject(new RedisError('ERR_REDIS_UNAVAILABLE', message))
  }
  const aborted = (): void => reject(signal?.reason)
  const timer = setTimeout(late, connectTimeout)
  signal?.addEventListener('abort', aborted, { once: true })
  connection.once('ready', resolve)
  connection.on('error', refused)
  try {
    connection.connect().catch((error: unknown) => {
      logger.debug({ client: name, reason: describeFailure(error) }, 'redis connection attempt failed')
    })
    await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
    connection.off('ready', resolve)
    connection.off('error', refused)
  }
}
