import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Redis } from 'ioredis'
import { silentLogger } from '@quintet/core'
import { createLogger } from '@quintet/core/logger'
import { redisUrl, until } from '@quintet/test-kit'
import {
  createJwtAuthManager,
  createSessionAuthority,
  deriveSecrets,
  throttleDefaults,
  type SessionTokens,
} from '../../src/index.ts'
import { createTestAuth, createTestClock, type TestAuth, type TestAuthOptions } from '../../src/testing.ts'
import { RefreshTokenCodec } from '../../src/authority/refresh-token.ts'
import { indexKey, seenKey, sessionKey } from '../../src/sessions/session-keys.ts'
import { codeOf } from '../support/code-of.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { connect } from '../support/redis.ts'
import { useToken } from '../support/use-token.ts'

let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  redis = connect()
  database = await createSessionDatabase()
})
afterAll(async () => {
  redis.disconnect()
  await database[Symbol.asyncDispose]()
})

const bearer = (token: string) => ({ scheme: 'bearer', token }) as const

describe.each(['Redis alone', 'PostgreSQL and Redis'] as const)('sessions in %s', (mode) => {
  async function kit(options: Omit<TestAuthOptions, 'redis'> = {}): Promise<TestAuth> {
    if (mode === 'Redis alone') return await createTestAuth({ redis, ...options })
    // The store needs the clock of the kit, which exists only once the kit does.
    let clock = createTestClock()
    const late = { now: () => clock.now(), monotonic: () => clock.monotonic() }
    const store = database.store(late)
    const made = await createTestAuth({ redis, ...options, authority: { store, ...options.authority } })
    clock = made.clock
    return made
  }
  const check = (auth: TestAuth, tokens: SessionTokens): Promise<string> =>
    codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))

  it('start with a sign-in, and carry what was said there', async () => {
    await using auth = await kit()
    const device = { name: 'Laptop', userAgent: 'Firefox' }
    const tokens = await auth.signIn({
      roles: ['admin'],
      permissions: ['a:b'],
      amr: ['pwd', 'otp'],
      aal: 2,
      device,
    })
    expect(tokens).toMatchObject({ expiresIn: 300, tokenType: 'Bearer', session: { aal: 2, device } })
    const principal = await auth.manager.authenticate(bearer(tokens.accessToken))
    expect(principal).toMatchObject({
      kind: 'user',
      userId: 'alice',
      tenantId: auth.tenantId,
      sessionId: tokens.session.sessionId,
      roles: ['admin'],
      permissions: ['a:b'],
      claims: { amr: ['pwd', 'otp'], aal: 2 },
    })
    expect(auth.events[0]).toMatchObject({ type: 'session.created', aal: 2, userId: 'alice' })
  })

  it('take ids that are made to break keys', async () => {
    await using auth = await kit()
    for (const userId of ['a:b', '{a}', 'a~b', 'ü', 'a b', '%41', 'a/b', '*']) {
      const tokens = await auth.signIn({ userId, tenantId: `${auth.tenantId}{}:` })
      const principal = await auth.manager.authenticate(bearer(tokens.accessToken))
      expect(principal.userId).toBe(userId)
      await auth.authority.refresh(tokens.refreshToken)
    }
    await expect(auth.signIn({ userId: '' })).rejects.toThrow('signIn.userId')
    await expect(auth.signIn({ userId: 'x'.repeat(201) })).rejects.toThrow('signIn.userId')
    for (const tenantId of ['a\nb', 'a\0', '\uD800']) {
      await expect(auth.signIn({ tenantId })).rejects.toThrow('signIn.tenantId')
    }
    await expect(auth.signIn({ aal: 4 })).rejects.toThrow('signIn.aal')
    await expect(auth.signIn({ role: [] } as never)).rejects.toThrow('Did you mean "roles"?')
  })

  it('can be refreshed under the longest ids that are taken', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn({ userId: '電'.repeat(66), tenantId: 'ü'.repeat(100) })
    const next = await auth.authority.refresh(tokens.refreshToken)
    expect(await check(auth, next)).toBe('resolved')
  })

  it('end under the name that they have, and no other', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    for (const sessionId of ['a:b', '', 'x}', 7 as never]) {
      const ref = { ...tokens.session, sessionId }
      await expect(auth.authority.revoke(ref)).rejects.toThrow('revoke.sessionId')
      await expect(auth.authority.revokeOthers(ref)).rejects.toThrow('revokeOthers.sessionId')
    }
    expect(await check(auth, tokens)).toBe('resolved')
    const other = await auth.signIn()
    const ended = await auth.authority.revokeOthers({ ...tokens.session, sessionId: 'unknown-session-id' })
    expect(ended).toHaveLength(2)
    expect([await check(auth, tokens), await check(auth, other)]).toEqual([
      'ERR_AUTH_SESSION_REVOKED',
      'ERR_AUTH_SESSION_REVOKED',
    ])
  })

  it('never begin with rights that no verifier would read', async () => {
    await using auth = await kit()
    const wrong: readonly [object, string][] = [
      [{ roles: 'admin' }, 'signIn.roles: a text is not a list'],
      [{ permissions: [1] }, 'signIn.permissions[0]: give a text'],
      [{ amr: { pwd: true } }, 'signIn.amr: an object is not a list'],
      [{ roles: Array.from({ length: 500 }, (_, index) => `role-${index}`) }, 'more than the 3584'],
      [{ amr: Array.from({ length: 100 }, (_, index) => `way-${index}`) }, 'more than the 512'],
      [{ device: { nmae: 'x' } }, 'Did you mean "name"?'],
      [{ device: { name: 7 } }, 'signIn.device.name'],
    ]
    for (const [user, message] of wrong) await expect(auth.signIn(user)).rejects.toThrow(message)
    expect(await auth.authority.list({ userId: 'alice', tenantId: auth.tenantId })).toEqual([])
    const most = Array.from({ length: 60 }, (_, index) => `${'role'.repeat(13)}${index}`)
    const tokens = await auth.signIn({ roles: most })
    expect((await auth.manager.authenticate(bearer(tokens.accessToken))).roles).toEqual(most)
    const refused = auth.authority.stepUp(tokens.refreshToken, { aal: 2, amr: 'otp' as never })
    await expect(refused).rejects.toThrow('stepUp.amr: a text is not a list')
    // What the session has counts too.
    const more = auth.authority.stepUp(tokens.refreshToken, { aal: 2, amr: ['otp'], permissions: most })
    await expect(more).rejects.toThrow('stepUp: roles and permissions take')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('resolved')
  })

  it('show of the device what a client may say, cut and without control characters', async () => {
    await using auth = await kit()
    const { session } = await auth.signIn({
      device: { name: 'a\0b\nc', userAgent: 'x'.repeat(10_000), address: '\uD800' },
    })
    const [listed] = await auth.authority.list(session)
    expect(listed?.device).toEqual({ name: 'a b c', userAgent: 'x'.repeat(256), address: '\uFFFD' })
  })

  it('give new tokens for a refresh token, and end the former access token at once', async () => {
    await using auth = await kit()
    const first = await auth.signIn({ roles: ['reader'] })
    const second = await auth.authority.refresh(first.refreshToken)
    expect(await check(auth, first)).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    expect(await check(auth, second)).toBe('resolved')
    expect((await auth.manager.authenticate(bearer(second.accessToken))).roles).toEqual(['reader'])
    expect(second.session.sessionId).toBe(first.session.sessionId)
  })

  it('give 50 concurrent refreshes one successor', async () => {
    await using auth = await kit()
    const { refreshToken } = await auth.signIn()
    const all = await Promise.all(Array.from({ length: 50 }, () => auth.authority.refresh(refreshToken)))
    expect(new Set(all.map((tokens) => tokens.refreshToken)).size).toBe(1)
    for (const tokens of all) expect(await check(auth, tokens)).toBe('resolved')
    const refreshed = auth.events.filter((event) => event.type === 'session.refreshed')
    expect(refreshed.filter((event) => !event.grace)).toHaveLength(1)
    expect(refreshed.filter((event) => event.grace)).toHaveLength(49)
  })

  it('let the former refresh token come back within the grace window, counted from when the successor is seen', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    await useToken(redis, auth, second)
    auth.clock.advance('6s')
    expect((await auth.authority.refresh(first.refreshToken)).refreshToken).toBe(second.refreshToken)
    auth.clock.advance('5s')
    expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
    expect(await check(auth, second)).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(await codeOf(auth.authority.refresh(second.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(auth.events.map(({ type }) => type)).toContain('session.refresh-reused')
  })

  it.each(['without binding', 'by introspection'] as const)(
    'notice a stolen refresh token where access tokens are checked %s',
    async (how) => {
      await using auth = await kit({ manager: how === 'without binding' ? { cnf: false } : {} })
      const use = ({ accessToken }: SessionTokens): Promise<unknown> =>
        how === 'by introspection'
          ? auth.manager.introspect(accessToken)
          : auth.manager.authenticate(bearer(accessToken))
      const first = await auth.signIn()
      await use(first)
      const second = await auth.authority.refresh(first.refreshToken)
      // Of a former token nothing is told: not that the answer with the present one has arrived.
      await use(first).catch(() => undefined)
      await use(second)
      const current = await redis.hget(sessionKey(second.session), 'rt')
      await until(async () => (await redis.hget(seenKey(second.session), 'rt')) === current)
      auth.clock.advance('2h')
      expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
    },
  )

  it('give the same successor at any later time while that was not seen: its answer may have been lost', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const lost = await auth.authority.refresh(first.refreshToken)
    // Of the generation before, so that it says nothing about the successor.
    expect(await check(auth, first)).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    auth.clock.advance('3d')
    const second = await auth.authority.refresh(first.refreshToken)
    expect(second.refreshToken).toBe(lost.refreshToken)
    expect(await check(auth, second)).toBe('resolved')
  })

  it('give a step-up whose answer was lost again, and to no plain refresh', async () => {
    await using auth = await kit()
    const first = await auth.signIn({ amr: ['pwd'] })
    const lost = await auth.authority.stepUp(first.refreshToken, { aal: 2, amr: ['otp'] })
    auth.clock.advance('1h')
    expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_SUPERSEDED')
    const more = auth.authority.stepUp(first.refreshToken, { aal: 3, amr: ['hwk'] })
    expect(await codeOf(more)).toBe('ERR_AUTH_REFRESH_SUPERSEDED')
    const again = await auth.authority.stepUp(first.refreshToken, { aal: 2, amr: ['otp'] })
    expect(again.refreshToken).toBe(lost.refreshToken)
    expect(again.session.aal).toBe(2)
  })

  it('are not seen in use by a token of the generation before that is still in its own grace', async () => {
    await using auth = await kit({ manager: {} })
    const { keys, issuer, audience, secrets, clock } = auth
    await using lenient = createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: redis,
      cnf: { secret: secrets.cnf, grace: '1h' },
      lastSeen: '1ms',
      ...{ keys, issuer, audience, clock },
    })
    const first = await auth.signIn()
    await lenient.authenticate(bearer(first.accessToken))
    await auth.authority.refresh(first.refreshToken)
    auth.clock.advance('1m')
    await lenient.authenticate(bearer(first.accessToken))
    await until(
      async () => Number(await redis.hget(seenKey(first.session), 'at')) === Math.floor(auth.clock.now()),
    )
    expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('resolved')
  })

  it('leave nothing of when they were used behind', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    await useToken(redis, auth, tokens)
    const left = await redis.pttl(sessionKey(tokens.session))
    expect(await redis.pttl(seenKey(tokens.session))).toBeLessThanOrEqual(left + 5)
    await auth.authority.revoke(tokens.session)
    expect(await redis.exists(seenKey(tokens.session))).toBe(0)
  })

  it('end when a token of two generations ago comes back, grace or not', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    await auth.authority.refresh(second.refreshToken)
    expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
  })

  it('give no grace where it is 0', async () => {
    await using auth = await kit({ authority: { grace: 0 } })
    const first = await auth.signIn()
    await useToken(redis, auth, await auth.authority.refresh(first.refreshToken))
    auth.clock.advance(1)
    expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
  })

  it('are not touched by forged refresh tokens', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    const parts = tokens.refreshToken.split('~')
    const altered = parts.map((_, index) =>
      parts.map((part, at) => (at === index ? `${part}0` : part)).join('~'),
    )
    const foreign = new RefreshTokenCodec(deriveSecrets('another root secret, long enough'), 'test')
    const parsed = foreign.format({
      ...new RefreshTokenCodec(auth.secrets, 'test').parse(tokens.refreshToken),
      generation: 1,
    })
    const forged = [
      ...altered,
      parsed,
      tokens.accessToken,
      '',
      'v1',
      'x'.repeat(5_000),
      7 as never,
      null as never,
    ]
    for (const each of forged)
      expect(await codeOf(auth.authority.refresh(each))).toBe('ERR_AUTH_REFRESH_INVALID')
    for (const each of forged)
      expect(await codeOf(auth.authority.signOut(each))).toBe('ERR_AUTH_REFRESH_INVALID')
    expect(await check(auth, tokens)).toBe('resolved')
    await auth.authority.refresh(tokens.refreshToken)
  })

  it('are not touched by a token with a true MAC and a wrong secret', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    const codec = new RefreshTokenCodec(auth.secrets, 'test')
    const token = codec.parse(tokens.refreshToken)
    const wrong = codec.format({ ...token, secret: 'A'.repeat(43) })
    expect(await codeOf(auth.authority.refresh(wrong))).toBe('ERR_AUTH_REFRESH_INVALID')
    const future = codec.format({ ...token, generation: 9 })
    expect(await codeOf(auth.authority.refresh(future))).toBe('ERR_AUTH_REFRESH_INVALID')
    expect(await check(auth, tokens)).toBe('resolved')
  })

  it('end when they are revoked, for access and refresh, and stay ended', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    expect(await auth.authority.revoke(tokens.session)).toBe(true)
    expect(await auth.authority.revoke(tokens.session)).toBe(false)
    expect(await check(auth, tokens)).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
  })

  it('end at a sign-out with the refresh token', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    await auth.authority.signOut(tokens.refreshToken)
    expect(await check(auth, tokens)).toBe('ERR_AUTH_SESSION_REVOKED')
  })

  it('end all at once, or all but one, and those of others go on', async () => {
    await using auth = await kit()
    const mine = [await auth.signIn(), await auth.signIn(), await auth.signIn()]
    const bob = await auth.signIn({ userId: 'bob' })
    const [kept] = mine as [SessionTokens, SessionTokens, SessionTokens]
    const others = await auth.authority.revokeOthers(kept.session)
    expect(others.toSorted()).toEqual(
      mine
        .slice(1)
        .map(({ session }) => session.sessionId)
        .toSorted(),
    )
    expect(await Promise.all(mine.map((tokens) => check(auth, tokens)))).toEqual([
      'resolved',
      'ERR_AUTH_SESSION_REVOKED',
      'ERR_AUTH_SESSION_REVOKED',
    ])
    const next = await auth.authority.refresh(kept.refreshToken)
    await auth.authority.revokeAll(kept.session)
    expect(await check(auth, next)).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(await codeOf(auth.authority.refresh(next.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(await check(auth, bob)).toBe('resolved')
    expect(await check(auth, await auth.signIn())).toBe('resolved')
  })

  it('do not start where all were ended since the credentials were read', async () => {
    await using auth = await kit()
    const alice = { tenantId: auth.tenantId, userId: 'alice' }
    const before = await auth.authority.epochOf(alice)
    expect(before).toBe(0)
    const first = await auth.signIn({ epoch: before })
    const second = await auth.signIn({ epoch: before })
    await auth.authority.revokeOthers(first.session)
    expect(await codeOf(auth.signIn({ epoch: before }))).toBe('ERR_AUTH_SIGN_IN_OUTDATED')
    expect((await auth.authority.list(alice)).map(({ sessionId }) => sessionId)).toEqual([
      first.session.sessionId,
    ])
    expect(await check(auth, second)).toBe('ERR_AUTH_SESSION_REVOKED')
    const now = await auth.authority.epochOf(alice)
    expect(await check(auth, await auth.signIn({ epoch: now }))).toBe('resolved')
    await expect(auth.signIn({ epoch: -1 })).rejects.toThrow('signIn.epoch')
  })

  it('are forgotten with their devices when they are erased', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn({ device: { name: 'Laptop of Zoe' }, roles: ['zebra'] })
    const bob = await auth.signIn({ userId: 'bob' })
    await auth.authority.erase(tokens.session)
    expect(await check(auth, tokens)).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toMatch(/REFRESH_(REVOKED|EXPIRED)/)
    expect(await redis.hgetall(sessionKey(tokens.session))).toEqual({ st: 'r', why: 'erased' })
    const { rows } = await database.pool.query(
      'select 1 from auth_sessions where tenant_id = $1 and user_id = $2',
      [auth.tenantId, 'alice'],
    )
    expect(rows).toEqual([])
    expect(await check(auth, bob)).toBe('resolved')
  })

  it('cannot be refreshed after all were ended, also if Redis had lost the list of them', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    const bob = await auth.signIn({ userId: 'bob' })
    await redis.del(indexKey(tokens.session))
    await auth.authority.revokeAll(tokens.session)
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(await codeOf(auth.authority.refresh(bob.refreshToken))).toBe('resolved')
    expect(await codeOf(auth.authority.refresh((await auth.signIn()).refreshToken))).toBe('resolved')
  })

  it('are listed with device and last use, newest first, and only while they are alive', async () => {
    await using auth = await kit()
    const first = await auth.signIn({ device: { name: 'Phone' } })
    auth.clock.advance('1s')
    const second = await auth.signIn({ device: { name: 'Laptop' } })
    auth.clock.advance('1s')
    const third = await auth.signIn()
    await auth.authority.revoke(third.session)
    await check(auth, first)
    await expect
      .poll(async () => (await auth.authority.list(first.session))[1]?.lastSeenAt)
      .toBe(auth.clock.now())
    const sessions = await auth.authority.list(first.session)
    expect(sessions.map(({ device }) => device.name)).toEqual(['Laptop', 'Phone'])
    expect(sessions[0]).toMatchObject({ sessionId: second.session.sessionId, lastSeenAt: null })
    auth.clock.advance('8d')
    expect(await auth.authority.list(first.session)).toEqual([])
  })

  it('end the one that was not refreshed for longest when a user has too many', async () => {
    await using auth = await kit({ authority: { maxSessionsPerUser: 2 } })
    const first = await auth.signIn()
    auth.clock.advance('1s')
    const second = await auth.signIn()
    auth.clock.advance('1s')
    const renewed = await auth.authority.refresh(first.refreshToken)
    auth.clock.advance('1s')
    const third = await auth.signIn()
    expect(await Promise.all([renewed, second, third].map((tokens) => check(auth, tokens)))).toEqual([
      'resolved',
      'ERR_AUTH_SESSION_REVOKED',
      'resolved',
    ])
    expect(auth.events).toContainEqual(expect.objectContaining({ reason: 'too-many-sessions' }))
  })

  it('of which one was refreshed just now end after one that was not, also shortly before its absolute limit', async () => {
    await using auth = await kit({ authority: { maxSessionsPerUser: 2, idle: '7d', absolute: '10d' } })
    let used = await auth.signIn()
    auth.clock.advance('5d')
    used = await auth.authority.refresh(used.refreshToken)
    const idle = await auth.signIn()
    auth.clock.advance('4d')
    used = await auth.authority.refresh(used.refreshToken)
    const latest = await auth.signIn()
    const listed = await auth.authority.list(idle.session)
    expect(listed.map(({ sessionId }) => sessionId)).toEqual([
      latest.session.sessionId,
      used.session.sessionId,
    ])
  })

  it('give a step-up that is repeated what was proved again and asked for this time', async () => {
    await using auth = await kit()
    const first = await auth.signIn({ amr: ['pwd'], roles: ['user'] })
    await auth.authority.stepUp(first.refreshToken, { aal: 2, amr: ['otp'], roles: ['user'] })
    auth.clock.advance('1h')
    const asked = { aal: 2, amr: ['otp'], roles: ['user', 'admin'], permissions: ['pay'] }
    const again = await auth.authority.stepUp(first.refreshToken, asked)
    expect(await auth.manager.authenticate(bearer(again.accessToken))).toMatchObject({
      roles: ['user', 'admin'],
      permissions: ['pay'],
      claims: { auth_time: Math.floor(auth.clock.now() / 1_000) },
    })
  })

  it('take no harm from what a verifier may write beside them', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    const mark = seenKey(second.session)
    // A mark that is older than what it marks.
    await redis.hset(mark, { rt: (await redis.hget(sessionKey(second.session), 'rt')) ?? '', since: 0 })
    auth.clock.advance('5s')
    expect((await auth.authority.refresh(first.refreshToken)).refreshToken).toBe(second.refreshToken)
    // One of another type.
    for (const step of [
      () => auth.authority.refresh(first.refreshToken),
      () => auth.authority.list(first.session),
      () => auth.authority.refresh(second.refreshToken),
    ]) {
      await redis.set(mark, 'x')
      expect(await codeOf(step())).toBe('resolved')
    }
  })

  it('expire when idle, and at the absolute limit however often they are refreshed', async () => {
    await using auth = await kit({ authority: { idle: '1h', absolute: '150m' } })
    let tokens = await auth.signIn()
    const idle = await auth.signIn()
    for (let count = 0; count < 2; count++) {
      auth.clock.advance('59m')
      tokens = await auth.authority.refresh(tokens.refreshToken)
    }
    expect(await codeOf(auth.authority.refresh(idle.refreshToken))).toBe('ERR_AUTH_REFRESH_EXPIRED')
    expect(tokens.session.expiresAt).toBe(tokens.session.absoluteExpiresAt)
    auth.clock.advance('31m')
    tokens = await auth.authority.refresh(tokens.refreshToken)
    expect(tokens.expiresIn).toBe(60)
    auth.clock.advance('2m')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_EXPIRED')
  })

  it('stay in Redis until they expire, and their tombstones until no access token can be alive', async () => {
    await using auth = await kit({ authority: { idle: '1h', absolute: '90m', accessTtl: '10m' } })
    const minutes = async (key: string): Promise<number> => (await redis.pttl(key)) / 60_000
    const tokens = await auth.signIn()
    const key = sessionKey(tokens.session)
    expect(await minutes(key)).toBeCloseTo(60, 0)
    auth.clock.advance('50m')
    const next = await auth.authority.refresh(tokens.refreshToken)
    expect(await minutes(key)).toBeCloseTo(40, 0)
    expect(await minutes(indexKey(tokens.session))).toBeGreaterThan(39)
    await auth.authority.revoke(next.session)
    expect(await minutes(key)).toBeGreaterThan(10.5)
    expect(await redis.hgetall(key)).toEqual({ st: 'r', why: 'signed-out' })
  })

  it('refuse an access token whose session has run out before it', async () => {
    await using auth = await kit({ authority: { idle: '1m', accessTtl: '10m' } })
    const tokens = await auth.signIn()
    auth.clock.advance('70s')
    expect(await check(auth, tokens)).toBe('ERR_AUTH_SESSION_EXPIRED')
  })

  it('rise in assurance by a step-up, of which the former tokens get nothing', async () => {
    await using auth = await kit()
    const weak = await auth.signIn({ amr: ['pwd'] })
    auth.clock.advance('1m')
    const strong = await auth.authority.stepUp(weak.refreshToken, { aal: 2, amr: ['otp'], roles: ['admin'] })
    const principal = await auth.manager.authenticate(bearer(strong.accessToken))
    expect(principal).toMatchObject({ roles: ['admin'], claims: { aal: 2, amr: ['pwd', 'otp'] } })
    expect(strong.session.authenticatedAt).toBe(auth.clock.now())
    expect(await codeOf(auth.authority.refresh(weak.refreshToken))).toBe('ERR_AUTH_REFRESH_SUPERSEDED')
    const ofOther = { aal: 3, amr: [], sessionId: weak.session.sessionId }
    const other = await auth.signIn()
    expect(await codeOf(auth.authority.stepUp(other.refreshToken, ofOther))).toBe('ERR_AUTH_REFRESH_INVALID')
    expect(await check(auth, other)).toBe('resolved')
    expect(await codeOf(auth.authority.stepUp(weak.refreshToken, { aal: 3, amr: [] }))).toBe(
      'ERR_AUTH_REFRESH_SUPERSEDED',
    )
    expect(await check(auth, strong)).toBe('resolved')
    const next = await auth.authority.refresh(strong.refreshToken)
    expect(next.session).toMatchObject({ aal: 2, amr: ['pwd', 'otp'] })
  })

  it('do not rise with a token that has been refreshed, nor end for the attempt', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    expect(await codeOf(auth.authority.stepUp(first.refreshToken, { aal: 2, amr: ['otp'] }))).toBe(
      'ERR_AUTH_REFRESH_SUPERSEDED',
    )
    const { claims } = (await auth.manager.authenticate(bearer(second.accessToken))) as { claims: object }
    expect(claims).toMatchObject({ aal: 1 })
  })

  it('give no successor that would not work, when the secret of successors has changed', async () => {
    await using auth = await kit()
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    const { refreshNext } = deriveSecrets('another root secret, long enough')
    const { keys, issuer, audience, clock } = auth
    await using changed = createSessionAuthority({
      redis,
      secrets: { ...auth.secrets, refreshNext },
      ...(mode === 'Redis alone' ? {} : { store: database.store(clock) }),
      ...{ keys, issuer, audience, clock },
    })
    expect(await codeOf(changed.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_SUPERSEDED')
    expect(await codeOf(changed.refresh(second.refreshToken))).toBe('resolved')
  })

  it('go on when the root secret changes and the former one is named as previous', async () => {
    const [former, present] = ['the former root secret, long enough', 'the present root secret, long enough']
    const made = await kit()
    const { keys, issuer, audience, clock } = made
    const store = mode === 'Redis alone' ? {} : { store: database.store(clock) }
    const shared = { redis, keys, issuer, audience, clock, ...store }
    await using before = createSessionAuthority({ ...shared, secrets: deriveSecrets(former) })
    await using after = createSessionAuthority({ ...shared, secrets: deriveSecrets(present, former) })
    await using without = createSessionAuthority({ ...shared, secrets: deriveSecrets(present) })
    const user = { userId: 'alice', tenantId: made.tenantId }
    const first = await before.signIn(user)
    expect(await codeOf(without.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_INVALID')
    // One whose answer was lost just before the change.
    const lost = await before.refresh(first.refreshToken)
    const second = await after.refresh(first.refreshToken)
    expect(second.session.sessionId).toBe(lost.session.sessionId)
    const third = await after.refresh(second.refreshToken)
    expect(await codeOf(without.refresh(third.refreshToken))).toBe('resolved')
    await made.close()
  })

  it('read the rights of the user anew at each refresh, and end when the user is gone', async () => {
    let roles: string[] | null = ['reader']
    await using auth = await kit({ authority: { loadUser: async () => (roles === null ? null : { roles }) } })
    const first = await auth.signIn({ roles: ['admin'] })
    const second = await auth.authority.refresh(first.refreshToken)
    expect((await auth.manager.authenticate(bearer(second.accessToken))).roles).toEqual(['reader'])
    roles = null
    expect(await codeOf(auth.authority.refresh(second.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(await check(auth, second)).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(auth.events).toContainEqual(
      expect.objectContaining({ type: 'session.revoked', reason: 'user-gone' }),
    )
  })

  it('give a refresh that is repeated the rights that the user has by then', async () => {
    let roles = ['admin']
    await using auth = await kit({ authority: { loadUser: async () => ({ roles }) } })
    const first = await auth.signIn({ roles: ['admin'] })
    await auth.authority.refresh(first.refreshToken)
    roles = []
    auth.clock.advance('2d')
    const repeated = await auth.authority.refresh(first.refreshToken)
    expect((await auth.manager.authenticate(bearer(repeated.accessToken))).roles).toEqual([])
  })

  it('never take texts that a ledger cannot keep, and say which', async () => {
    let rights: string[] = []
    await using auth = await kit({ authority: { loadUser: async () => ({ roles: rights }) } })
    const tokens = await auth.signIn()
    for (const text of ['a\0b', 'a\nb', '\uD800']) {
      for (const list of ['roles', 'permissions', 'amr'])
        await expect(auth.signIn({ [list]: [text] })).rejects.toThrow(`signIn.${list}[0]: holds control`)
      await expect(auth.authority.revoke(tokens.session, text)).rejects.toThrow('revoke.reason: give a text')
      await expect(auth.authority.revokeAll(tokens.session, text)).rejects.toThrow('revokeAll.reason')
      await expect(auth.authority.revokeOthers(tokens.session, text)).rejects.toThrow('revokeOthers.reason')
      rights = [text]
      await expect(auth.authority.refresh(tokens.refreshToken)).rejects.toThrow(
        'loadUser.roles[0]: holds control',
      )
    }
    await expect(auth.authority.revoke(tokens.session, 'x'.repeat(201))).rejects.toThrow('at most 200')
    rights = ['Größe: überall']
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('resolved')
  })

  it.each([undefined, {}, { roles: null }, { roles: 'admin' }, { roles: [], permissions: null }])(
    'are not refreshed with the rights %j, which are none',
    async (rights) => {
      await using auth = await kit({ authority: { loadUser: async () => rights as never } })
      const tokens = await auth.signIn({ roles: ['admin'] })
      await expect(auth.authority.refresh(tokens.refreshToken)).rejects.toThrow('loadUser')
    },
  )

  it('change nothing when the rights of the user cannot be read', async () => {
    let broken = true
    const loadUser = async (): Promise<{ roles: string[] }> => {
      if (broken) throw new Error('db down')
      return { roles: [] }
    }
    await using auth = await kit({ authority: { loadUser, grace: 0 } })
    const tokens = await auth.signIn()
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_UNAVAILABLE')
    broken = false
    auth.clock.advance('1m')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('resolved')
  })

  it('leave an event of every kind, with ids and a time and nothing else that matters', async () => {
    let allowed = true
    const limiter = {
      consume: async () => ({ allowed, retryAfter: 7 }),
      refund: async () => undefined,
      reset: async () => undefined,
    }
    await using auth = await kit({ authority: { throttle: { limiter } } })
    const first = await auth.signIn({ amr: ['pwd'] })
    const second = await auth.authority.refresh(first.refreshToken)
    await auth.authority.stepUp(second.refreshToken, { aal: 2, amr: ['otp'] })
    await codeOf(auth.authority.refresh('forged'))
    await codeOf(auth.authority.refresh(first.refreshToken))
    const last = await auth.signIn()
    await auth.authority.revoke(last.session, 'administrator')
    await codeOf(auth.authority.refresh(last.refreshToken))
    await auth.authority.revokeAll(last.session)
    allowed = false
    await codeOf(auth.authority.admitSignIn({ account: 'alice' }))
    const at = auth.clock.now()
    const { sessionId } = first.session
    const user = { userId: 'alice', tenantId: auth.tenantId }
    const one = { at, ...user, sessionId }
    const other = { at, ...user, sessionId: last.session.sessionId }
    expect(auth.events).toEqual([
      { type: 'session.created', ...one, aal: 1, amr: ['pwd'] },
      { type: 'session.refreshed', ...one, generation: 2, grace: false },
      { type: 'session.refreshed', ...one, generation: 3, grace: false },
      { type: 'session.stepped-up', ...one, aal: 2, amr: ['pwd', 'otp'] },
      { type: 'refresh.refused', at, reason: 'not-ours' },
      { type: 'session.refresh-reused', ...one, generation: 1 },
      { type: 'session.revoked', ...one, reason: 'reused' },
      { type: 'session.created', ...other, aal: 1, amr: [] },
      { type: 'session.revoked', ...other, reason: 'administrator' },
      { type: 'refresh.refused', at, reason: 'revoked', sessionId: last.session.sessionId },
      { type: 'user.sessions-revoked', at, ...user, reason: 'signed-out-everywhere', sessionIds: [] },
      { type: 'attempt.throttled', at, what: 'sign-in', retryAfter: 7 },
    ])
  })

  it('that are bound to a key are refreshed with that key alone', async () => {
    await using auth = await kit()
    const jkt = 'k'.repeat(43)
    const tokens = await auth.signIn({ jkt })
    expect(tokens.tokenType).toBe('DPoP')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_INVALID')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken, { jkt: 'x'.repeat(43) }))).toBe(
      'ERR_AUTH_REFRESH_INVALID',
    )
    const next = await auth.authority.refresh(tokens.refreshToken, { jkt })
    expect(next.tokenType).toBe('DPoP')
    expect(await check(auth, next)).toBe('ERR_AUTH_TOKEN_INVALID')
  })
})

describe('createSessionAuthority', () => {
  it('says by name which option is wrong', async () => {
    await using auth = await createTestAuth({ redis })
    const good = { redis, keys: auth.keys, secrets: auth.secrets, issuer: 'i', audience: 'a' }
    const limiter = {
      consume: async () => ({ allowed: true, retryAfter: 0 }),
      refund: async () => undefined,
      reset: async () => undefined,
    }
    const wrong: readonly [object, string][] = [
      [{ acessTtl: '5m' }, 'Did you mean "accessTtl"?'],
      [{ accessTtl: 'soon' }, 'accessTtl'],
      [{ accessTtl: 10 }, 'accessTtl'],
      [{ idle: 0 }, 'idle'],
      [{ absolute: -1 }, 'absolute'],
      [{ maxSessionsPerUser: 0 }, 'maxSessionsPerUser'],
      [{ issuer: '' }, 'issuer'],
      [{ audience: [] }, 'audience'],
      [{ redis: {} }, 'redis'],
      [{ keys: {} }, 'keys'],
      [{ secrets: { ...auth.secrets, refreshMac: 'short' } }, 'at least 32 bytes'],
      [{ throttle: { limitter: 1 } }, 'throttle'],
      [{ throttle: {} }, 'throttle.limiter: is missing. Give a rate limiter'],
      [{ throttle: { limiter: { consume: limiter.consume } } }, 'throttle.limiter: is not a rate limiter'],
      [{ throttle: { limiter, perAcount: { limit: 1, period: '1m' } } }, 'Did you mean "perAccount"?'],
      ...Object.keys(throttleDefaults).flatMap((name): [object, string][] => [
        [{ throttle: { limiter, [name]: { limit: 0, period: '1m' } } }, `throttle.${name}.limit: 0`],
        [{ throttle: { limiter, [name]: { limit: 1, period: 'soon' } } }, `throttle.${name}.period`],
        [{ throttle: { limiter, [name]: { limit: 1, period: '1m', burst: 0.5 } } }, `throttle.${name}.burst`],
        [{ throttle: { limiter, [name]: { limt: 1, period: '1m' } } }, `throttle.${name}`],
      ]),
      [{ store: { find: () => undefined } }, 'store: is not a session store: it has no create()'],
      [{ loadUser: {} }, 'loadUser'],
      [{ audit: [] }, 'audit'],
    ]
    for (const [change, message] of wrong) {
      expect(() => createSessionAuthority({ ...good, ...change } as never), message).toThrow(message)
    }
  })

  it.each(['', 'auth:', 'sessions:{prod}:', 'seen:{prod}:s:'])(
    'notices a stolen refresh token behind the key prefix %j',
    async (prefix) => {
      const prefixed = new Redis(redisUrl(), { keyPrefix: prefix, maxRetriesPerRequest: 0 })
      await using auth = await createTestAuth({ redis: prefixed })
      const first = await auth.signIn()
      const second = await auth.authority.refresh(first.refreshToken)
      await auth.manager.authenticate(bearer(second.accessToken))
      await until(async () => (await prefixed.hget(seenKey(second.session), 'rt')) !== null)
      auth.clock.advance('1h')
      expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
      expect(await prefixed.exists(seenKey(second.session))).toBe(0)
      prefixed.disconnect()
    },
  )

  it('puts issuer, audience and client into tokens', async () => {
    await using auth = await createTestAuth({ redis, authority: { clientId: 'web', accessTtl: '1m' } })
    const tokens = await auth.signIn()
    const { claims } = (await auth.manager.authenticate(bearer(tokens.accessToken))) as { claims: object }
    expect(claims).toMatchObject({ iss: auth.issuer, aud: auth.audience, client_id: 'web' })
    expect(tokens.expiresIn).toBe(60)
  })

  it('counts attempts to sign in and to refresh', async () => {
    const seen: string[] = []
    let allowed = true
    const limiter = {
      consume: async (key: string, limit: object, { onUnavailable }: { onUnavailable: string }) => {
        seen.push(`${key} ${JSON.stringify(limit)} ${onUnavailable}`)
        return { allowed, retryAfter: 2_000 }
      },
      refund: async () => undefined,
      reset: async () => undefined,
    }
    const perAccount = { limit: 3, period: '1m' } as const
    const perAddress = { limit: 70, period: '1h', burst: 5 } as const
    await using auth = await createTestAuth({
      redis,
      // An option that is undefined is one that is not given.
      authority: { throttle: { limiter, perAccount, perAddress, ...({ perSession: undefined } as {}) } },
    })
    await auth.authority.admitSignIn({ account: 'Alice@Example.com ', address: '10.0.0.1' })
    await auth.authority.admitSignIn({ account: 'alice@example.com' })
    const limits = (lines: readonly string[]): string[] => lines.map((line) => /\{.*\}/.exec(line)?.[0] ?? '')
    // The limiter gets options that have been read: periods in milliseconds.
    const perPair = JSON.stringify({ limit: 10, period: 900_000 })
    const ofAccount = JSON.stringify({ limit: 3, period: 60_000 })
    const [first, second] = [seen.slice(0, 3), seen.slice(3)]
    expect(limits(first)).toEqual([
      JSON.stringify({ limit: 70, period: 3_600_000, burst: 5 }),
      perPair,
      ofAccount,
    ])
    expect(limits(second)).toEqual([perPair, ofAccount])
    expect(second[1]).toBe(first[2])
    expect(seen.join()).not.toMatch(/alice|10\.0/i)
    const tokens = await auth.signIn()
    const next = await auth.authority.refresh(tokens.refreshToken)
    expect(seen[5]).toContain('"limit":60')
    expect(seen.map((line) => line.split(' ').at(-1))).toEqual([...Array(5).fill('refuse'), 'local'])
    await expect(auth.authority.admitSignIn({ account: 'a', adress: 'x' } as never)).rejects.toThrow(
      '"address"',
    )
    await expect(auth.authority.admitSignIn({} as never)).rejects.toThrow('admitSignIn.account')
    allowed = false
    const refused = auth.authority.refresh(next.refreshToken)
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_AUTH_THROTTLED',
      kind: 'rate-limited',
      retryAfter: 2_000,
    })
    expect(await codeOf(auth.authority.admitSignIn({ account: 'a' }))).toBe('ERR_AUTH_THROTTLED')
    expect(auth.events.at(-1)).toMatchObject({ type: 'attempt.throttled', what: 'sign-in' })
    allowed = true
    await auth.authority.refresh(next.refreshToken)
  })

  it('is unavailable, not open, when the limiter fails', async () => {
    const limiter = {
      consume: () => Promise.reject(new Error('down')),
      refund: async () => undefined,
      reset: async () => undefined,
    }
    await using auth = await createTestAuth({ redis, authority: { throttle: { limiter } } })
    expect(await codeOf(auth.authority.admitSignIn({ account: 'a' }))).toBe('ERR_AUTH_UNAVAILABLE')
  })

  it('keeps the keys of its ring for as long as its tokens live', async () => {
    await using auth = await createTestAuth({ redis, authority: { accessTtl: '1h' } })
    const tokens = await auth.signIn()
    await auth.keys.prepublish()
    auth.clock.advance('15m')
    auth.keys.rotate()
    auth.clock.advance('44m')
    expect(await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))).toBe('resolved')
    auth.clock.advance('20m')
    expect(auth.keys.list()).toHaveLength(1)
  })

  it.each(['throws', 'rejects'] as const)('goes on when an audit listener %s, and logs it', async (how) => {
    const lines: string[] = []
    const sink = { write: (line: string) => void lines.push(line) }
    const logger = createLogger({ level: 'error', destination: sink })
    const audit = (): Promise<void> => {
      if (how === 'throws') throw new Error('full disk')
      return Promise.reject(new Error('full disk'))
    }
    await using auth = await createTestAuth({ redis, authority: { audit, logger } })
    expect((await auth.signIn()).tokenType).toBe('Bearer')
    await expect.poll(() => lines.join()).toMatch(/full disk.*an audit listener failed/)
  })
})
