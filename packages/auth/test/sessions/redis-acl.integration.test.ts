import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRedisClients, createTrackedCache, type RedisClients } from '@quintet/redis'
import { silentLogger, type UserPrincipal } from '@quintet/core'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { createJwtAuthManager, sessionRedisAcl, type SessionRedisAclOptions } from '../../src/index.ts'
import { createTestAuth } from '../../src/testing.ts'
import { epochKey, seenKey, sessionKey } from '../../src/sessions/session-keys.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let server: PrivateRedis
beforeAll(async () => {
  server = await startPrivateRedis()
})
afterAll(() => server.stop())

async function clientOf(
  role: 'verifier' | 'issuer',
  options: SessionRedisAclOptions = {},
): Promise<RedisClients<'sessions'>> {
  const admin = connect(server.url)
  await admin.call('ACL', 'SETUSER', role, 'reset', 'on', '>password', ...sessionRedisAcl(role, options))
  admin.disconnect()
  const url = server.url.replace('redis://', `redis://${role}:password@`)
  return await createRedisClients({
    url,
    clients: { sessions: { prefix: options.prefix ?? '', eviction: 'never' } },
    logger: silentLogger,
    bootCheck: 'refuse',
  })
}

describe('a Redis user with the rights of sessionRedisAcl', () => {
  it.each(['', 'auth:'])(
    'issues, refreshes, lists, throttles nothing else and ends sessions, with the prefix "%s"',
    async (prefix) => {
      await using clients = await clientOf('issuer', { prefix })
      const redis = clients.client('sessions')
      await using auth = await createTestAuth({ redis, authority: { maxSessionsPerUser: 2 } })
      const tokens = await auth.signIn()
      const next = await auth.authority.refresh(tokens.refreshToken)
      await auth.manager.authenticate({ scheme: 'bearer', token: next.accessToken })
      await auth.signIn()
      expect(await auth.authority.list(tokens.session)).toHaveLength(2)
      await auth.authority.revokeOthers(tokens.session)
      await auth.authority.revoke(tokens.session)
      await auth.authority.revokeAll(tokens.session)
      await expect(redis.set('other', '1')).rejects.toThrow('NOPERM')
    },
  )

  it.each(['', 'auth:'])('verifies and writes no session, with the prefix "%s"', async (prefix) => {
    await using issuer = await clientOf('issuer', { prefix })
    await using clients = await clientOf('verifier', { prefix, tracked: true })
    const redis = clients.client('sessions')
    await using auth = await createTestAuth({ redis: issuer.client('sessions') })
    const { keys, issuer: iss, audience, secrets, clock } = auth
    const shared = { logger: silentLogger, sessionRedis: redis, keys, issuer: iss, audience, clock }
    const cnf = { secret: secrets.cnf }
    await using strict = createJwtAuthManager({ ...shared, cnf })
    const tokens = await auth.signIn()
    const call = { scheme: 'bearer', token: tokens.accessToken } as const
    expect(await codeOf(strict.authenticate(call))).toBe('resolved')
    const admin = connect(server.url)
    await until(async () => (await admin.exists(prefix + seenKey(tokens.session))) === 1)
    admin.disconnect()
    if (prefix === '') {
      await using tracked = createJwtAuthManager({
        ...shared,
        cnf,
        freshness: 'tracked',
        track: (options) => createTrackedCache({ client: redis, ...options }),
      })
      expect(await codeOf(tracked.authenticate(call))).toBe('resolved')
    }
    const caller = (await strict.authenticate(call)) as UserPrincipal
    const epoch = await strict.epochOf(caller)
    expect(await strict.hasEndedSince(caller, epoch)).toBe(false)
    await auth.authority.revokeAll(tokens.session)
    expect(await strict.hasEndedSince(caller, epoch)).toBe(true)
    expect(await codeOf(strict.epochOf(caller))).toBe('ERR_AUTH_SESSION_REVOKED')
    await expect(redis.set(epochKey(tokens.session), '0')).rejects.toThrow('NOPERM')
    await expect(redis.hset(sessionKey(tokens.session), 'st', 'a')).rejects.toThrow('NOPERM')
    await expect(redis.del(sessionKey(tokens.session))).rejects.toThrow('NOPERM')
  })

  it('is told in words when it may not ask what the server is', async () => {
    const admin = connect(server.url)
    await admin.call(
      'ACL',
      'SETUSER',
      'bare',
      'reset',
      'on',
      '>password',
      '~s:*',
      '+hmget',
      '+ping',
      '+select',
    )
    admin.disconnect()
    const url = server.url.replace('redis://', 'redis://bare:password@')
    await using clients = await createRedisClients({ url, logger: silentLogger, bootCheck: 'warn' })
    expect(await clients.client('sessions').hmget('s:x', 'st')).toEqual([null])
  })

  it('has a plain prefix', () => {
    for (const prefix of ['*', 'a b', '[x]'])
      expect(() => sessionRedisAcl('verifier', { prefix })).toThrow('prefix')
    expect(() => sessionRedisAcl('admin' as never)).toThrow("'verifier' or 'issuer'")
  })
})
