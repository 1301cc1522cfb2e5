import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRateLimiter } from '@quintet/redis'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { createTestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
beforeAll(() => {
  redis = connect()
})
afterAll(() => redis.disconnect())

const attempt = { account: 'alice@example.com', address: '10.0.0.1' }

describe('throttling with the rate limiter of @quintet/redis', () => {
  it('lets as many attempts through as it is told', async () => {
    const limiter = createRateLimiter({ client: redis, prefix: `throttle-${process.pid}:` })
    const perAccount = { limit: 2, period: '1m' } as const
    await using auth = await createTestAuth({ redis, authority: { throttle: { limiter, perAccount } } })
    await auth.authority.admitSignIn(attempt)
    await auth.authority.admitSignIn(attempt)
    expect(await codeOf(auth.authority.admitSignIn(attempt))).toBe('ERR_AUTH_THROTTLED')
  })

  it.each(['frozen', 'stopped'] as const)(
    'while its Redis is %s lets nobody sign in, counts refreshes in the process, and recovers',
    async (how) => {
      await using server = await startPrivateRedis()
      const away = connect(server.url)
      // Its own default is to count in the process; sign-ins are refused all the same.
      const limiter = createRateLimiter({ client: away, onUnavailable: 'local', retryInterval: 50 })
      const perSession = { limit: 2, period: '1h' } as const
      await using auth = await createTestAuth({ redis, authority: { throttle: { limiter, perSession } } })
      await auth.authority.admitSignIn(attempt)
      let tokens = await auth.signIn()
      if (how === 'frozen') server.freeze()
      else await server.kill()
      const started = performance.now()
      for (let count = 0; count < 3; count++) {
        expect(await codeOf(auth.authority.admitSignIn(attempt))).toBe('ERR_AUTH_UNAVAILABLE')
      }
      for (let count = 0; count < 2; count++) tokens = await auth.authority.refresh(tokens.refreshToken)
      expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_THROTTLED')
      expect(performance.now() - started).toBeLessThan(3_000)
      if (how === 'frozen') server.thaw()
      else await server.restart()
      await until(async () => (await codeOf(auth.authority.admitSignIn(attempt))) === 'resolved')
      away.disconnect()
    },
  )
})
