import type { Redis } from 'ioredis'
import { until } from '@quintet/test-kit'
import type { SessionTokens } from '../../src/index.ts'
import type { TestAuth } from '../../src/testing.ts'
import { seenKey, sessionKey } from '../../src/sessions/session-keys.ts'

/** Uses an access token, and waits until Redis knows that its generation is in use. */
export async function useToken(redis: Redis, auth: TestAuth, tokens: SessionTokens): Promise<void> {
  await auth.manager.authenticate({ scheme: 'bearer', token: tokens.accessToken })
  const current = await redis.hget(sessionKey(tokens.session), 'rt')
  await until(async () => (await redis.hget(seenKey(tokens.session), 'rt')) === current)
}
