import { createTestAuth } from '@quintet/auth/testing'
import type { AuthManager } from '@quintet/core'
import { Redis } from 'ioredis'

/** Real tokens over real sessions, read from Redis on every call. */
export async function createSessionAuth(): Promise<{ readonly auth: AuthManager; readonly token: string }> {
  const redis = new Redis(process.env['REDIS_URL'] ?? '', { maxRetriesPerRequest: 0 })
  const kit = await createTestAuth({ redis })
  const { accessToken } = await kit.signIn()
  return { auth: kit.manager, token: accessToken }
}
