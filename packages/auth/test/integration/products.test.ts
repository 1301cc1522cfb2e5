import { createRedisClients, createTrackedCache } from '@quintet/redis'
import { findServer, startPrivateRedis, until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import type { TrackedSessions } from '../../src/index.ts'
import { createTestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'

const products = ['redis-server', 'redis-server-8', 'valkey-server']
const found = await Promise.all(products.map(async (name) => ({ name, binary: await findServer(name) })))

const bearer = (token: string) => ({ scheme: 'bearer', token }) as const

for (const { name, binary } of found) {
  const where = binary ?? 'not on PATH, nor fetched by tools/fetch-servers.ts'
  describe.skipIf(binary === undefined)(`on ${name} (${where})`, () => {
    it.each(['strict', 'tracked'] as const)(
      'a session lives, rotates and ends, and does not come back, with %s checks',
      async (freshness) => {
        await using server = await startPrivateRedis({ binary: binary ?? name })
        await using clients = await createRedisClients({
          url: server.url,
          bootCheck: 'refuse',
          commandTimeout: '20s',
          connectTimeout: '20s',
          reconnect: { min: 10, max: 20 },
        })
        const redis = clients.client('sessions')
        let cache: TrackedSessions | undefined
        await using auth = await createTestAuth({
          redis,
          manager: {
            freshness,
            commandTimeout: '20s',
            ...(freshness === 'strict'
              ? {}
              : { track: (options) => (cache = createTrackedCache({ client: redis, ...options })) }),
          },
          authority: { commandTimeout: '20s' },
        })
        await cache?.whenTrusted()
        const check = (token: string): Promise<string> => codeOf(auth.manager.authenticate(bearer(token)))
        /** A strict check knows at once, a tracked one as soon as Redis has told. */
        const expectRefused = async (token: string, code: string): Promise<void> => {
          if (freshness === 'tracked') await until(async () => (await check(token)) === code)
          expect(await check(token)).toBe(code)
        }

        const first = await auth.signIn()
        const other = await auth.signIn()
        expect(await check(first.accessToken)).toBe('resolved')
        expect(await check(other.accessToken)).toBe('resolved')

        const tries = Array.from({ length: 50 }, () => auth.authority.refresh(first.refreshToken))
        const successors = await Promise.all(tries)
        expect(new Set(successors.map(({ refreshToken }) => refreshToken)).size).toBe(1)
        const [second] = successors
        if (second === undefined) throw new Error('unreachable')
        await expectRefused(first.accessToken, 'ERR_AUTH_TOKEN_SUPERSEDED')
        expect(await check(second.accessToken)).toBe('resolved')

        await auth.authority.revoke(first.session)
        await expectRefused(second.accessToken, 'ERR_AUTH_SESSION_REVOKED')
        expect(await codeOf(auth.authority.refresh(second.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
        expect(await check(other.accessToken)).toBe('resolved')

        await auth.authority.revokeAll({ userId: 'alice', tenantId: auth.tenantId })
        await expectRefused(other.accessToken, 'ERR_AUTH_SESSION_REVOKED')

        const last = await auth.signIn()
        expect(await check(last.accessToken)).toBe('resolved')
        await server.restart()
        await until(() => redis.ping())
        // What Redis has lost is gone, as nothing else remembers it; a sign-in works at once, with scripts loaded anew.
        await until(async () => !['resolved', 'ERR_AUTH_UNAVAILABLE'].includes(await check(last.accessToken)))
        const again = await auth.signIn()
        expect(await check(again.accessToken)).toBe('resolved')
      },
    )
  })
}
