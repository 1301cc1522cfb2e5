import { createTestAuth } from '@quintet/auth/testing'
import { createTrackedCache } from '@quintet/redis'
import type { AuthManager } from '@quintet/core'
import { Redis } from 'ioredis'

/** Real tokens over real sessions: read from Redis on every call, or kept in memory as long as Redis vouches for them. */
export async function createSessionAuth(
  freshness: 'strict' | 'tracked',
): Promise<{ readonly auth: AuthManager; readonly token: string }> {
  const redis = new Redis(process.env['REDIS_URL'] ?? '', { maxRetriesPerRequest: 0 })
  let trusted: Promise<void> | undefined
  const kit = await createTestAuth({
    redis,
    manager:
      freshness === 'strict'
        ? {}
        : {
            freshness,
            track(options) {
              const cache = createTrackedCache({ client: redis, ...options })
              trusted = cache.whenTrusted()
              return cache
            },
          },
  })
  await trusted
  const { accessToken } = await kit.signIn()
  return { auth: kit.manager, token: accessToken }
}
