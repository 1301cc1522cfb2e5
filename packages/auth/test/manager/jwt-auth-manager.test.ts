import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import { anonymous, silentLogger } from '@quintet/core'
import type { SessionEnd } from '@quintet/core/kit'
import { createLogger } from '@quintet/core/logger'
import { createTrackedCache } from '@quintet/redis'
import { startPrivateRedis, until } from '@quintet/test-kit'
import {
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  createTokenVerifier,
  deriveSecrets,
  remoteJwks,
  type JwtAuthManagerOptions,
  type SessionAuthority,
  type SessionRedis,
  type TrackedSessions,
  type TrackSessions,
} from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { seenScript } from '../../src/sessions/scripts.ts'
import { seenKey, sessionKey } from '../../src/sessions/session-keys.ts'
import { maxLookups } from '../../src/sessions/session-warmer.ts'
import { codeOf } from '../support/code-of.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { startProxy } from '../support/proxy.ts'
import { connect } from '../support/redis.ts'

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
const track: TrackSessions = (options) => createTrackedCache({ client: redis, ...options })

const otherKeys = await createKeyRing()

describe('createJwtAuthManager', () => {
  it.each([
    ['issuer', { issuer: 'https://other' }, /^The issuer \("iss"\) is ".+", not "https:\/\/other"\.$/],
    ['audience', { audience: 'other' }, /^The audience \("aud"\) is ".+", not "other"\.$/],
    ['key', { keys: otherKeys }, /^The key of the token is not known\.$/],
  ] as const)(
    'logs for which reason a token was refused, and tells no caller: %s',
    async (_, wrong, reason) => {
      const lines: string[] = []
      const logger = createLogger({ level: 'debug', destination: { write: (line) => void lines.push(line) } })
      await using auth = await createTestAuth({ redis })
      const { keys, issuer, audience, secrets, clock } = auth
      await using manager = createJwtAuthManager({
        ...{ logger, sessionRedis: redis, keys, issuer, audience, cnf: { secret: secrets.cnf }, clock },
        ...wrong,
      })
      const { accessToken } = await auth.signIn()
      const refused = await manager.authenticate(bearer(accessToken)).catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: 'ERR_AUTH_TOKEN_INVALID', details: { reason: 'invalid' } })
      expect(String(refused)).not.toMatch(/iss|aud|key/)
      const [line] = lines.map((each) => JSON.parse(each) as Record<string, unknown>)
      expect(line).toMatchObject({
        code: 'ERR_AUTH_TOKEN_INVALID',
        cause: expect.stringMatching(reason) as string,
      })
      expect(lines.join()).not.toContain(accessToken.split('.')[2])
    },
  )

  it('waits for a silent Redis no longer than its caller does', async () => {
    const silent = { hmget: 0 }
    const asked = Promise.withResolvers<void>()
    const sessionRedis: SessionRedis = {
      hmget: () => {
        silent.hmget++
        asked.resolve()
        return new Promise<never>(() => {})
      },
      get: () => Promise.reject(new Error('unused')),
      eval: () => Promise.reject(new Error('unused')),
      evalsha: () => Promise.reject(new Error('unused')),
    }
    await using auth = await createTestAuth({ redis })
    const { keys, issuer, audience, secrets, clock } = auth
    const cnf = { secret: secrets.cnf }
    await using manager = createJwtAuthManager({
      ...{ logger: silentLogger, sessionRedis, keys, issuer, audience, cnf, clock },
      commandTimeout: '1h',
    })
    const { accessToken } = await auth.signIn()
    const caller = new AbortController()
    const waiting = manager.authenticate(bearer(accessToken), { signal: caller.signal })
    await asked.promise
    caller.abort(new Error('The caller went away.'))
    await expect(waiting).rejects.toThrow('The caller went away.')
    await expect(manager.authenticate(bearer(accessToken), { signal: caller.signal })).rejects.toThrow(
      'went away',
    )
    expect(silent.hmget).toBe(1)
  })

  it('waits for the keys of the issuer no longer than its caller does; the fetch goes on for others', async () => {
    await using auth = await createTestAuth({ redis })
    const { issuer, audience, secrets, clock } = auth
    const answer = Promise.withResolvers<Response>()
    const asked = Promise.withResolvers<void>()
    const keys = remoteJwks('https://issuer.test/jwks', {
      timeout: '1h',
      fetch: () => {
        asked.resolve()
        return answer.promise
      },
    })
    const cnf = { secret: secrets.cnf }
    await using manager = createJwtAuthManager({
      ...{ logger: silentLogger, sessionRedis: redis, keys, issuer, audience, cnf, clock },
    })
    const { accessToken } = await auth.signIn()
    const caller = new AbortController()
    const waiting = manager.authenticate(bearer(accessToken), { signal: caller.signal })
    const other = manager.authenticate(bearer(accessToken))
    await asked.promise
    caller.abort(new Error('The caller went away.'))
    await expect(waiting).rejects.toThrow('The caller went away.')
    answer.resolve(Response.json(auth.keys.jwks()))
    expect(await other).toMatchObject({ userId: 'alice' })
  })

  it('warns once when no token has ever fitted its session: the cnf secret is another', async () => {
    const lines: string[] = []
    const logger = createLogger({ level: 'warn', destination: { write: (line) => void lines.push(line) } })
    await using auth = await createTestAuth({ redis })
    const { keys, issuer, audience, secrets, clock } = auth
    const shared = { logger, sessionRedis: redis, keys, issuer, audience, clock }
    await using wrong = createJwtAuthManager({
      ...shared,
      cnf: { secret: 'of another environment, 32 bytes' },
    })
    await using right = createJwtAuthManager({ ...shared, cnf: { secret: secrets.cnf } })
    const first = await auth.signIn()
    await right.authenticate(bearer(first.accessToken))
    await auth.authority.refresh(first.refreshToken)
    for (const manager of [right, wrong, wrong])
      expect(await codeOf(manager.authenticate(bearer(first.accessToken)))).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('is cnf.secret the same')
  })

  it('answers with an anonymous principal only for a call without credentials', async () => {
    await using auth = await createTestAuth({ redis })
    expect(await auth.manager.authenticate({ scheme: 'none' })).toBe(anonymous)
    expect(await codeOf(auth.manager.authenticate(bearer('')))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('passes on a principal that the surface has verified itself', async () => {
    await using auth = await createTestAuth({ redis })
    const credentials = { scheme: 'attested', principal: anonymous, by: 'link' } as const
    expect(await auth.manager.authenticate(credentials)).toBe(anonymous)
  })

  it('gives every call the same frozen principal', async () => {
    await using auth = await createTestAuth({ redis })
    const { accessToken } = await auth.signIn({ roles: ['reader'] })
    const principal = await auth.manager.authenticate(bearer(accessToken))
    expect(await auth.manager.authenticate(bearer(accessToken))).toBe(principal)
    expect(() => (principal.roles as string[]).push('admin')).toThrow(TypeError)
    expect(() => Object.assign(principal, { tenantId: 'other' })).toThrow(TypeError)
  })

  it('finds nothing under the session of another user or tenant', async () => {
    await using auth = await createTestAuth({ redis })
    const { session } = await auth.signIn()
    const stolen = { sid: session.sessionId, cnf: { fp: 'a'.repeat(43) } }
    for (const claims of [{ sub: 'mallory' }, { tid: 'other' }]) {
      const token = await auth.token({ ...stolen, ...claims })
      expect(await codeOf(auth.manager.authenticate(bearer(token)))).toBe('ERR_AUTH_SESSION_COLD')
    }
  })

  it('refuses a genuine token with a wrong binding, and one without any', async () => {
    await using auth = await createTestAuth({ redis })
    const { session } = await auth.signIn()
    const claims = { sid: session.sessionId }
    const wrong = await auth.token({ ...claims, cnf: { fp: 'a'.repeat(43) } })
    expect(await codeOf(auth.manager.authenticate(bearer(wrong)))).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    for (const unbound of [claims, { ...claims, cnf: {} }]) {
      expect(await codeOf(auth.manager.authenticate(bearer(await auth.token(unbound))))).toBe(
        'ERR_AUTH_TOKEN_INVALID',
      )
    }
  })

  it('without binding still asks for the session', async () => {
    await using auth = await createTestAuth({ redis, manager: { cnf: false } })
    const { session } = await auth.signIn()
    const token = await auth.token({ sid: session.sessionId })
    expect(await codeOf(auth.manager.authenticate(bearer(token)))).toBe('resolved')
    await auth.authority.revoke(session)
    expect(await codeOf(auth.manager.authenticate(bearer(token)))).toBe('ERR_AUTH_SESSION_REVOKED')
  })

  it('accepts tokens that a former cnf secret has bound, as long as it is told of it', async () => {
    const former = deriveSecrets('the former root secret, long enough')
    const present = deriveSecrets('the present root secret, long enough')
    const keys = await createKeyRing()
    const shared = { issuer: 'i', audience: 'a', keys }
    await using authority = createSessionAuthority({ redis, secrets: former, ...shared })
    const { accessToken } = await authority.signIn({ userId: 'u', tenantId: `cnf-${process.pid}` })
    const make = (cnf: JwtAuthManagerOptions['cnf']) =>
      createJwtAuthManager({ logger: silentLogger, sessionRedis: redis, cnf, ...shared })
    await using alone = make({ secret: present.cnf })
    await using both = make({ secret: present.cnf.reveal(), previousSecrets: [former.cnf] })
    expect(await codeOf(alone.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    expect(await codeOf(both.authenticate(bearer(accessToken)))).toBe('resolved')
  })

  it('accepts the token of the generation before for the grace that it is given', async () => {
    await using auth = await createTestAuth({ redis })
    await using lenient = createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: redis,
      keys: auth.keys,
      issuer: auth.issuer,
      audience: auth.audience,
      cnf: { secret: auth.secrets.cnf, grace: '10s' },
      clock: auth.clock,
    })
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    expect(await codeOf(lenient.authenticate(bearer(first.accessToken)))).toBe('resolved')
    expect(await codeOf(lenient.authenticate(bearer(second.accessToken)))).toBe('resolved')
    expect(await codeOf(auth.manager.authenticate(bearer(first.accessToken)))).toBe(
      'ERR_AUTH_TOKEN_SUPERSEDED',
    )
    await auth.authority.refresh(second.refreshToken)
    expect(await codeOf(lenient.authenticate(bearer(first.accessToken)))).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    auth.clock.advance('11s')
    expect(await codeOf(lenient.authenticate(bearer(second.accessToken)))).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
  })

  it('shares a verifier that was made before', async () => {
    await using auth = await createTestAuth({ redis })
    const jwt = createTokenVerifier({
      keys: auth.keys,
      issuer: auth.issuer,
      audience: auth.audience,
      clock: auth.clock,
    })
    const rest = {
      logger: silentLogger,
      sessionRedis: redis,
      cnf: { secret: auth.secrets.cnf },
      clock: auth.clock,
    }
    await using manager = createJwtAuthManager({ jwt, ...rest })
    const { accessToken } = await auth.signIn()
    expect(await codeOf(manager.authenticate(bearer(accessToken)))).toBe('resolved')
    expect(jwt.recall(accessToken)).toBeDefined()
    expect(() => createJwtAuthManager({ jwt, issuer: 'x', ...rest } as never)).toThrow('Leave out issuer')
  })

  it('expires a remembered token on time', async () => {
    await using auth = await createTestAuth({ redis })
    const { accessToken } = await auth.signIn()
    await auth.manager.authenticate(bearer(accessToken))
    auth.clock.advance('306s')
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_TOKEN_EXPIRED')
  })

  it('marks a session as seen, as often as it is told', async () => {
    await using auth = await createTestAuth({ redis, manager: { lastSeen: '10s' } })
    const { accessToken, session } = await auth.signIn()
    const seen = async (): Promise<number | null> =>
      (await auth.authority.list(session))[0]?.lastSeenAt ?? null
    const start = auth.clock.now()
    await auth.manager.authenticate(bearer(accessToken))
    await expect.poll(seen).toBe(start)
    auth.clock.advance('9s')
    await auth.manager.authenticate(bearer(accessToken))
    expect(await seen()).toBe(start)
    auth.clock.advance('2s')
    await auth.manager.authenticate(bearer(accessToken))
    await expect.poll(seen).toBe(start + 11_000)
  })

  it('marks nothing where that is switched off', async () => {
    await using auth = await createTestAuth({ redis, manager: { lastSeen: false } })
    const { accessToken, session } = await auth.signIn()
    await auth.manager.authenticate(bearer(accessToken))
    await redis.ping()
    expect((await auth.authority.list(session))[0]?.lastSeenAt).toBeNull()
  })

  it.each(['1m', false] as const)(
    'repeats a first mark that got lost at the next use (lastSeen: %s)',
    async (lastSeen) => {
      let failing = true
      const flaky: SessionRedis = {
        get: (key) => redis.get(key),
        hmget: (key, ...fields) => redis.hmget(key, ...fields),
        eval: (lua, keys, ...args) => redis.eval(lua, keys, ...args),
        async evalsha(sha, keys, ...args) {
          if (!failing || sha !== seenScript.sha) return await redis.evalsha(sha, keys, ...args)
          failing = false
          throw new Error('read ECONNRESET')
        },
      }
      await using auth = await createTestAuth({ redis: flaky, manager: { lastSeen } })
      const { accessToken, session } = await auth.signIn()
      await until(async () => {
        await auth.manager.authenticate(bearer(accessToken))
        return (await redis.hget(seenKey(session), 'rt')) !== null
      })
      expect(failing).toBe(false)
    },
  )

  it('says by name which option is wrong', async () => {
    await using auth = await createTestAuth({ redis })
    const { keys, secrets, issuer, audience } = auth
    const good = {
      logger: silentLogger,
      sessionRedis: redis,
      keys,
      issuer,
      audience,
      cnf: { secret: secrets.cnf },
    }
    const wrong: readonly [object, string][] = [
      [{ cnfHmacSecret: 'x' }, 'unknown key "cnfHmacSecret"'],
      [{ cnf: undefined }, 'cnf: is missing'],
      [{ cnf: { secret: 'short' } }, 'at least 32 bytes'],
      [{ cnf: { secret: secrets.cnf, grce: 1 } }, 'Did you mean "grace"?'],
      [{ freshness: 'lazy' }, 'freshness'],
      [{ freshness: 'tracked' }, 'track'],
      [{ sessionRedis: undefined }, 'sessionRedis'],
      [{ watchInterval: 1 }, 'watchInterval'],
      [{ dpop: { windw: 1 } }, 'Did you mean "window"?'],
      [{ audience: undefined }, 'audience'],
      [{ logger: undefined }, 'logger'],
      [{ sessionLookup: database.store() }, 'sessionLookup'],
      [{ audit: 'log' }, 'audit: "log" is not a function'],
      [{ freshness: 'tracked', track: {} }, 'track'],
    ]
    for (const [change, message] of wrong) {
      expect(() => createJwtAuthManager({ ...good, ...change } as never), message).toThrow(message)
    }
  })
})

describe('a cold session', () => {
  it('is told apart from a bad one where nobody can look it up', async () => {
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    await redis.del(sessionKey(tokens.session))
    await expect(auth.manager.authenticate(bearer(tokens.accessToken))).rejects.toMatchObject({
      code: 'ERR_AUTH_SESSION_COLD',
      kind: 'unauthenticated',
      details: { reason: 'session_cold' },
    })
  })

  it('of which the store knows nothing, or nothing good, is refused, and not looked up for every call', async () => {
    const store = database.store()
    let lookups = 0
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: {
        sessionLookup: async (ref) => {
          lookups++
          return await store.find(ref)
        },
      },
    })
    const unknown = await auth.token({ sid: 'unknown', cnf: { fp: 'a'.repeat(43) } })
    for (let count = 0; count < 5; count++) {
      expect(await codeOf(auth.manager.authenticate(bearer(unknown)))).toBe('ERR_AUTH_SESSION_REVOKED')
    }
    expect(lookups).toBe(1)
    const { accessToken, session } = await auth.signIn()
    await auth.authority.revoke(session)
    await redis.del(sessionKey(session))
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(lookups).toBe(2)
  })

  it('is unavailable when the lookup fails, and comes back when it works again', async () => {
    const store = database.store()
    let broken = true
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: { sessionLookup: (ref) => (broken ? Promise.reject(new Error('db down')) : store.find(ref)) },
    })
    const { accessToken, session } = await auth.signIn()
    await redis.del(sessionKey(session))
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_UNAVAILABLE')
    broken = false
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('resolved')
  })

  it('is unavailable within two seconds when the lookup hangs', async () => {
    await using auth = await createTestAuth({
      redis,
      manager: { sessionLookup: () => new Promise(() => undefined) },
    })
    const { accessToken, session } = await auth.signIn()
    await redis.del(sessionKey(session))
    const started = performance.now()
    const codes = await Promise.all(
      [1, 2, 3].map(() => codeOf(auth.manager.authenticate(bearer(accessToken)))),
    )
    expect(codes).toEqual(Array(3).fill('ERR_AUTH_UNAVAILABLE'))
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('many cold sessions', () => {
  it('are looked up few at a time, and all come back', async () => {
    const store = database.store()
    let running = 0
    let most = 0
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: {
        sessionLookup: async (ref) => {
          most = Math.max(most, ++running)
          try {
            return await store.find(ref)
          } finally {
            running--
          }
        },
      },
    })
    const users = Array.from({ length: 120 }, (_, index) => `user-${index}`)
    const all = await Promise.all(users.map((userId) => auth.signIn({ userId })))
    await redis.del(...all.map(({ session }) => sessionKey(session)))
    const codes = await Promise.all(
      all.map(({ accessToken }) => codeOf(auth.manager.authenticate(bearer(accessToken)))),
    )
    for (const [index, code] of codes.entries()) {
      if (code === 'resolved') continue
      // A machine that is too busy to serve it in time says so, and serves it later.
      expect(code).toBe('ERR_AUTH_UNAVAILABLE')
      await auth.manager.authenticate(bearer(all[index]?.accessToken ?? ''))
    }
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(maxLookups)
  })

  it('are unavailable in time when the database hangs, and come back when it does not', async () => {
    let hangs = true
    const store = database.store()
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: { sessionLookup: (ref) => (hangs ? new Promise(() => undefined) : store.find(ref)) },
    })
    const users = Array.from({ length: 120 }, (_, index) => `user-${index}`)
    const all = await Promise.all(users.map((userId) => auth.signIn({ userId })))
    await redis.del(...all.map(({ session }) => sessionKey(session)))
    const started = performance.now()
    const call = (): Promise<string[]> =>
      Promise.all(all.map(({ accessToken }) => codeOf(auth.manager.authenticate(bearer(accessToken)))))
    expect(new Set(await call())).toEqual(new Set(['ERR_AUTH_UNAVAILABLE']))
    expect(performance.now() - started).toBeLessThan(2_500)
    hangs = false
    expect(new Set(await call())).toEqual(new Set(['resolved']))
  })

  it('that nobody has signed cost neither a read nor a lookup', async () => {
    await using server = await startPrivateRedis()
    const own = connect(server.url)
    let lookups = 0
    await using auth = await createTestAuth({
      redis: own,
      manager: {
        sessionLookup: async () => {
          lookups++
          return undefined
        },
      },
    })
    const { accessToken } = await auth.signIn()
    const [header = '', payload = '', signature = ''] = accessToken.split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object
    await own.config('RESETSTAT')
    for (let index = 0; index < 500; index++) {
      const forged = Buffer.from(JSON.stringify({ ...claims, sid: `flood-${index}` })).toString('base64url')
      expect(await codeOf(auth.manager.authenticate(bearer(`${header}.${forged}.${signature}`)))).toBe(
        'ERR_AUTH_TOKEN_INVALID',
      )
    }
    expect(lookups).toBe(0)
    expect(await own.info('commandstats')).not.toMatch(/cmdstat_(?:hmget|evalsha|eval):/)
    own.disconnect()
  })
})

describe('revocation while a session is looked up', () => {
  async function slowKit(): Promise<{
    auth: TestAuth
    authority: SessionAuthority
    release: () => void
    reached: Promise<void>
  }> {
    const store = database.store()
    const { promise: gate, resolve: release } = Promise.withResolvers<void>()
    const { promise: reached, resolve: onReached } = Promise.withResolvers<void>()
    const auth = await createTestAuth({
      redis,
      authority: { store },
      manager: {
        sessionLookup: async (ref) => {
          const found = await store.find(ref)
          onReached()
          await gate
          return found
        },
      },
    })
    return { auth, authority: auth.authority, release, reached }
  }

  it('is not undone by what was read before it', async () => {
    const { auth, authority, release, reached } = await slowKit()
    await using _ = auth
    const { accessToken, session } = await auth.signIn()
    await redis.del(sessionKey(session))
    const call = codeOf(auth.manager.authenticate(bearer(accessToken)))
    await reached
    await authority.revoke(session)
    release()
    expect(await call).toBe('ERR_AUTH_SESSION_REVOKED')
  })

  it('is not undone even when Redis loses the tombstone in between', async () => {
    const { auth, authority, release, reached } = await slowKit()
    await using _ = auth
    const { accessToken, session } = await auth.signIn()
    await redis.del(sessionKey(session))
    const call = codeOf(auth.manager.authenticate(bearer(accessToken)))
    await reached
    await authority.revoke(session)
    await redis.del(sessionKey(session))
    release()
    expect(await call).toBe('ERR_AUTH_SESSION_REVOKED')
  })

  it('everywhere reaches a session that Redis did not have in its index', async () => {
    const { auth, authority, release, reached } = await slowKit()
    await using _ = auth
    const { accessToken, session } = await auth.signIn()
    await redis.del(sessionKey(session), `u:{${auth.tenantId}:alice}`)
    const call = codeOf(auth.manager.authenticate(bearer(accessToken)))
    await reached
    expect(await authority.revokeAll(session)).toEqual([session.sessionId])
    release()
    expect(await call).toBe('ERR_AUTH_SESSION_REVOKED')
  })
})

describe('tracked freshness', () => {
  async function tracked(
    options: { watchInterval?: number } = {},
  ): Promise<TestAuth & { ready: () => Promise<void> }> {
    let cache: ReturnType<typeof createTrackedCache> | undefined
    const auth = await createTestAuth({
      redis,
      manager: {
        freshness: 'tracked',
        track: (given) => {
          const made = createTrackedCache({ client: redis, ...given })
          cache = made as ReturnType<typeof createTrackedCache>
          return made
        },
        ...options,
      },
    })
    return Object.assign(auth, { ready: async () => await cache?.whenTrusted() })
  }

  it('reads a session once, and sees its end at once', async () => {
    await using auth = await tracked()
    await auth.ready()
    const { accessToken, session } = await auth.signIn()
    const reads = async (): Promise<number> =>
      Number(/cmdstat_hmget:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
    await auth.manager.authenticate(bearer(accessToken))
    await until(async () => (await codeOf(auth.manager.authenticate(bearer(accessToken)))) === 'resolved')
    const before = await reads()
    for (let count = 0; count < 200; count++) await auth.manager.authenticate(bearer(accessToken))
    // Other test files use the same server; 200 reads of ours would show all the same.
    expect((await reads()) - before).toBeLessThan(150)
    await auth.authority.revoke(session)
    await until(
      async () =>
        (await codeOf(auth.manager.authenticate(bearer(accessToken)))) === 'ERR_AUTH_SESSION_REVOKED',
      1_000,
    )
  })

  it('sees the revocation at once where a call demands it', async () => {
    await using auth = await tracked()
    await auth.ready()
    for (let count = 0; count < 50; count++) {
      const { accessToken, session } = await auth.signIn()
      await auth.manager.authenticate(bearer(accessToken))
      await auth.authority.revoke(session)
      const { signal } = new AbortController()
      const strict = auth.manager.authenticate(bearer(accessToken), { signal, freshness: 'strict' })
      expect(await codeOf(strict)).toBe('ERR_AUTH_SESSION_REVOKED')
    }
  })

  it('looks at the session’s own expiry, whatever Redis has told', async () => {
    const auth = await createTestAuth({
      redis,
      authority: { idle: '1m' },
      manager: { freshness: 'tracked', track },
    })
    await using _ = auth
    const { accessToken } = await auth.signIn()
    await auth.manager.authenticate(bearer(accessToken))
    auth.clock.advance('66s')
    expect(await codeOf(auth.manager.authenticate(bearer(accessToken)))).toBe('ERR_AUTH_SESSION_EXPIRED')
  })

  it('leaves no stale entry behind 10 000 revocations that race with reads', async () => {
    const users = 600
    await using server = await startPrivateRedis()
    // What is read comes late, so that invalidations overtake it: a cache that only filled and forgot would keep
    // every eighth of these sessions after its end.
    await using proxy = await startProxy(server.port, 5)
    const redis = connect(server.url)
    const writer = connect(server.url)
    const reader = connect(proxy.url)
    const auth = await createTestAuth({ redis })
    const { keys, issuer, audience, secrets, clock } = auth
    let cache: TrackedSessions | undefined
    const manager = createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: reader,
      commandTimeout: '20s',
      lastSeen: false,
      cnf: { secret: secrets.cnf },
      freshness: 'tracked',
      track: (options) => (cache = createTrackedCache({ client: redis, ...options })),
      ...{ keys, issuer, audience, clock },
    })
    await cache?.whenTrusted()
    const tokens = await Promise.all(
      Array.from({ length: users }, (_, index) => auth.signIn({ userId: `user-${index}` })),
    )
    const sessions = tokens.map(({ session }) => sessionKey(session))
    const credentials = tokens.map(({ accessToken }) => bearer(accessToken))
    const write = async (state: 'a' | 'r'): Promise<void> => {
      const pipeline = writer.pipeline()
      for (const key of sessions) pipeline.hset(key, 'st', state)
      await pipeline.exec()
    }
    const calls = (each: typeof credentials): Promise<string[]> =>
      Promise.all(each.map((one) => codeOf(manager.authenticate(one))))
    const served = async (): Promise<number> =>
      Number(/cmdstat_hmget:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0)
    let stale = 0
    let raced = 0
    while (raced < 10_000) {
      await write('a')
      const before = await served()
      const reads = calls(credentials)
      // Redis has read the sessions, and what it has read is still on its way.
      for (let looks = 0; looks < 20 && (await served()) < before + users; looks++);
      await write('r')
      raced += (await reads).filter((code) => code === 'resolved').length
      let pending = credentials
      const deadline = performance.now() + 10_000
      while (pending.length > 0 && performance.now() < deadline) {
        const codes = await calls(pending)
        pending = pending.filter((_, index) => codes[index] === 'resolved')
      }
      stale += pending.length
    }
    expect(stale).toBe(0)
    await manager.close()
    await auth.close()
    for (const client of [redis, writer, reader]) client.disconnect()
  }, 120_000)
})

describe('watch', () => {
  async function watched(auth: TestAuth): Promise<{
    ends: SessionEnd[]
    tokens: Awaited<ReturnType<TestAuth['signIn']>>
    watch: Disposable
  }> {
    const ends: SessionEnd[] = []
    const tokens = await auth.signIn()
    const principal = await auth.manager.authenticate(bearer(tokens.accessToken))
    return { ends, tokens, watch: auth.manager.watch(principal, (end) => ends.push(end)) }
  }

  it.each(['strict', 'tracked'] as const)('tells of a revocation once, in %s mode', async (freshness) => {
    const manager = freshness === 'tracked' ? { freshness, track } : { freshness, watchInterval: 20 }
    await using auth = await createTestAuth({ redis, manager })
    const { ends, tokens } = await watched(auth)
    await auth.authority.revoke(tokens.session)
    await expect.poll(() => ends, { timeout: 2_000 }).toEqual(['revoked'])
    await auth.authority.revokeAll(tokens.session)
    await redis.ping()
    expect(ends).toEqual(['revoked'])
  })

  it('tells of a revocation at once where it is tracked, also when every call reads its session', async () => {
    await using auth = await createTestAuth({ redis, manager: { track, watchInterval: '1h' } })
    const { ends, tokens } = await watched(auth)
    expect(auth.manager.recall(bearer(tokens.accessToken))).toBeUndefined()
    await auth.authority.revoke(tokens.session)
    expect(await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
    await expect.poll(() => ends, { timeout: 2_000 }).toEqual(['revoked'])
  })

  it('in tracked mode tells of what happened while nothing could be heard, as soon as it can be heard again', async () => {
    await using server = await startPrivateRedis()
    await using proxy = await startProxy(server.port)
    const client = connect(server.url)
    const listening = connect(proxy.url)
    let cache: TrackedSessions | undefined
    const auth = await createTestAuth({
      redis: client,
      manager: {
        freshness: 'tracked',
        watchInterval: '1h',
        track: (options) => (cache = createTrackedCache({ client: listening, ...options })),
      },
    })
    await cache?.whenTrusted()
    const { ends, tokens } = await watched(auth)
    const reads = async (): Promise<number> =>
      Number(/cmdstat_hmget:calls=(\d+)/.exec(await client.info('commandstats'))?.[1])
    const before = await reads()
    proxy.cut()
    // What it reads when the connection is lost says that the session is alive.
    await until(async () => (await reads()) > before)
    await auth.authority.revoke(tokens.session)
    expect(ends).toEqual([])
    proxy.restore()
    await expect.poll(() => ends, { timeout: 5_000 }).toEqual(['revoked'])
    await auth.close()
    client.disconnect()
    listening.disconnect()
  })

  it('tells of a revocation that came before it', async () => {
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    const principal = await auth.manager.authenticate(bearer(tokens.accessToken))
    await auth.authority.revoke(tokens.session)
    const end = await new Promise((resolve) => auth.manager.watch(principal, resolve))
    expect(end).toBe('revoked')
  })

  it('tells of a token that was superseded, and of one that has expired', async () => {
    await using auth = await createTestAuth({ redis, manager: { watchInterval: 20 } })
    const one = await watched(auth)
    await auth.authority.refresh(one.tokens.refreshToken)
    await expect.poll(() => one.ends).toEqual(['superseded'])
    const two = await watched(auth)
    auth.clock.advance('302s')
    await expect.poll(() => two.ends).toEqual(['expired'])
  })

  it('takes a session that stays away for an interval as expired, however often it is looked at before', async () => {
    const watchInterval = 300
    await using auth = await createTestAuth({ redis, manager: { watchInterval } })
    const { ends, tokens } = await watched(auth)
    const principal = await auth.manager.authenticate(bearer(tokens.accessToken))
    const key = sessionKey(tokens.session)
    // Whoever begins to watch lets the session be looked at for all.
    const look = async (): Promise<void> => {
      auth.manager.watch(principal, () => undefined)[Symbol.dispose]()
      await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))
    }
    const dumped = (await redis.dumpBuffer(key)) as Buffer
    await redis.del(key)
    const lostAt = performance.now()
    for (let count = 0; count < 5; count++) await look()
    await redis.restore(key, 60_000, dumped)
    await look()
    expect(ends).toEqual([])
    await redis.del(key)
    await until(() => ends.length > 0)
    expect(ends).toEqual(['expired'])
    expect(performance.now() - lostAt).toBeGreaterThan(watchInterval)
  })

  it('does not take a session that is being re-warmed as expired', async () => {
    let reads = 0
    const counting: SessionRedis = {
      get: (key) => redis.get(key),
      hmget: (key, ...fields) => redis.hmget(key, ...fields).finally(() => reads++),
      evalsha: (sha, keys, ...args) => redis.evalsha(sha, keys, ...args),
      eval: (lua, keys, ...args) => redis.eval(lua, keys, ...args),
    }
    await using auth = await createTestAuth({ redis: counting, manager: { watchInterval: 20 } })
    const { ends, tokens } = await watched(auth)
    const key = sessionKey(tokens.session)
    const dumped = (await redis.dumpBuffer(key)) as Buffer
    await redis.multi().del(key).hset(key, 'st', 'w').exec()
    const before = reads
    await until(() => reads >= before + 5)
    await redis.restore(key, 60_000, dumped, 'REPLACE')
    await auth.authority.revoke(tokens.session)
    await until(() => ends.length > 0)
    expect(ends).toEqual(['revoked'])
  })

  it('goes on for others when one listener fails, and logs that', async () => {
    const lines: string[] = []
    const logger = createLogger({ level: 'error', destination: { write: (line) => void lines.push(line) } })
    await using auth = await createTestAuth({ redis })
    await using manager = createJwtAuthManager({
      logger,
      sessionRedis: redis,
      keys: auth.keys,
      issuer: auth.issuer,
      audience: auth.audience,
      cnf: { secret: auth.secrets.cnf },
      clock: auth.clock,
      watchInterval: 20,
    })
    const tokens = await auth.signIn()
    const principal = await manager.authenticate(bearer(tokens.accessToken))
    manager.watch(principal, () => {
      throw new Error('socket gone')
    })
    manager.watch(principal, async () => {
      throw new Error('socket gone later')
    })
    const ended = new Promise((resolve) => manager.watch(principal, resolve))
    await auth.authority.revoke(tokens.session)
    expect(await ended).toBe('revoked')
    await expect.poll(() => lines.join()).toContain('"message":"socket gone"')
    await expect.poll(() => lines.join()).toContain('"message":"socket gone later"')
  })

  it('is silent after its disposal, and for principals without a session', async () => {
    await using auth = await createTestAuth({ redis, manager: { watchInterval: 20 } })
    const quiet = await watched(auth)
    const heard = await watched(auth)
    quiet.watch[Symbol.dispose]()
    await auth.authority.revokeAll(quiet.tokens.session)
    await expect.poll(() => heard.ends).toEqual(['revoked'])
    expect(quiet.ends).toEqual([])
    auth.manager.watch(anonymous, () => expect.unreachable())[Symbol.dispose]()
  })
})
