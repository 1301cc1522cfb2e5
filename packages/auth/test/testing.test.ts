import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import { createTestAuth, createTestClock } from '../src/testing.ts'
import { codeOf } from './support/code-of.ts'
import { connect } from './support/redis.ts'

let redis: Redis
beforeAll(() => {
  redis = connect()
})
afterAll(() => redis.disconnect())

const bearer = (token: string) => ({ scheme: 'bearer', token }) as const

describe('createTestAuth', () => {
  it('makes sessions whose header any app that has the manager accepts', async () => {
    await using auth = await createTestAuth({ redis })
    const { authorization } = await auth.authorization({ userId: 'bob', roles: ['admin'] })
    expect(authorization).toMatch(/^Bearer /)
    const principal = await auth.manager.authenticate(bearer(authorization.slice(7)))
    expect(principal).toMatchObject({ userId: 'bob', tenantId: auth.tenantId, roles: ['admin'] })
    expect(auth.events.map(({ type }) => type)).toEqual(['session.created'])
  })

  it('gives every test a tenant and keys of its own', async () => {
    await using one = await createTestAuth({ redis })
    await using other = await createTestAuth({ redis })
    expect(one.tenantId).not.toBe(other.tenantId)
    const { accessToken } = await one.signIn()
    expect(await codeOf(other.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('has a clock that tokens and sessions go by', async () => {
    await using auth = await createTestAuth({ redis, authority: { accessTtl: '1m' } })
    const tokens = await auth.signIn()
    auth.clock.advance('66s')
    expect(await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))).toBe('ERR_AUTH_TOKEN_EXPIRED')
    auth.clock.advance('7d')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_EXPIRED')
  })

  it('hands on what it is told to authority and manager', async () => {
    const warmed: string[] = []
    await using auth = await createTestAuth({
      redis,
      authority: { clientId: 'web' },
      manager: {
        clockTolerance: '1m',
        maxTokenLength: 8_000,
        tokenCache: { maxEntries: 0 },
        audit: ({ type }) => warmed.push(type),
      },
    })
    const { accessToken } = await auth.signIn()
    auth.clock.advance('350s')
    const principal = await auth.manager.authenticate(bearer(accessToken))
    expect(principal).toMatchObject({ claims: { client_id: 'web' } })
    expect(await auth.manager.authenticate(bearer(accessToken))).not.toBe(principal)
  })

  it('refuses options that it, the authority or the manager does not know', async () => {
    await expect(createTestAuth({ redis, managr: {} } as never)).rejects.toThrow('Did you mean "manager"?')
    await expect(createTestAuth({ redis, manager: { freshnes: 'strict' } } as never)).rejects.toThrow(
      'Did you mean "freshness"?',
    )
    await expect(createTestAuth({ redis, authority: { idel: 1 } } as never)).rejects.toThrow(
      'Did you mean "idle"?',
    )
    await expect(createTestAuth({} as never)).rejects.toThrow('redis: is missing. Give a Redis client')
  })
})

describe('createTestClock', () => {
  it('stands still until it is told to go', () => {
    const clock = createTestClock(1_000)
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0])
    clock.advance('2s')
    expect([clock.now(), clock.monotonic()]).toEqual([3_000, 2_000])
    expect(() => clock.advance('soon' as never)).toThrow('advance')
  })
})
