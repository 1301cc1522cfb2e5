import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
beforeAll(() => {
  redis = connect()
})
afterAll(() => redis.disconnect())

describe('introspect', () => {
  it('tells of a token that is bound to a key, by which key its proof must be', async () => {
    await using auth = await createTestAuth({ redis })
    const jkt = 'a'.repeat(43)
    const bound = await auth.signIn({ jkt, roles: ['owner'] })
    const token = bound.accessToken
    expect(await auth.manager.introspect(token)).toMatchObject({
      active: true,
      token_type: 'DPoP',
      cnf: { jkt },
      sub: 'alice',
      tid: auth.tenantId,
      aud: auth.audience,
      roles: ['owner'],
    })
    // It is no bearer token for that.
    expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token }))).toBe(
      'ERR_AUTH_TOKEN_INVALID',
    )
  })

  it('tells of a bearer token, and not what binds it to a refresh', async () => {
    await using auth = await createTestAuth({ redis })
    const { accessToken } = await auth.signIn()
    const told = await auth.manager.introspect(accessToken)
    expect(told).toMatchObject({ active: true, token_type: 'Bearer' })
    expect(told).not.toHaveProperty('cnf')
  })

  it('says that what is replaced, revoked, expired or no token is not active, and no more', async () => {
    await using auth = await createTestAuth({ redis })
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    const inactive = { active: false }
    expect(await auth.manager.introspect(first.accessToken)).toEqual(inactive)
    expect(await auth.manager.introspect(first.refreshToken)).toEqual(inactive)
    expect(await auth.manager.introspect('nonsense')).toEqual(inactive)
    await auth.authority.revoke(second.session)
    expect(await auth.manager.introspect(second.accessToken)).toEqual(inactive)
    const third = await auth.signIn()
    auth.clock.advance('6m')
    expect(await auth.manager.introspect(third.accessToken)).toEqual(inactive)
  })

  it('ends with its caller', async () => {
    await using auth = await createTestAuth({ redis })
    const { accessToken } = await auth.signIn()
    const signal = AbortSignal.abort(new Error('gone'))
    await expect(auth.manager.introspect(accessToken, { signal })).rejects.toThrow('gone')
  })
})
