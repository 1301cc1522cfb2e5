import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '@quintet/core'
import { createTrackedCache } from '@quintet/redis'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import {
  createJwtAuthManager,
  createSessionAuthority,
  type SessionRedis,
  type SessionStore,
} from '../../src/index.ts'
import type { PostgresSessionStore } from '../../src/postgres.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { advanceScript, createScript, firstSeenScript } from '../../src/sessions/scripts.ts'
import { sessionKey } from '../../src/sessions/session-keys.ts'
import type { SessionScript } from '../../src/sessions/session-redis.ts'
import { codeOf } from '../support/code-of.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { startProxy } from '../support/proxy.ts'
import { connect } from '../support/redis.ts'

const bearer = (token: string) => ({ scheme: 'bearer', token }) as const

/** How long a refusal may take at most: the command timeout, and room for a busy machine. */
const longest = 2_500

async function timed(promise: Promise<unknown>): Promise<[code: string, ms: number]> {
  const started = performance.now()
  const code = await codeOf(promise)
  return [code, performance.now() - started]
}

async function expectUnavailable(promise: Promise<unknown>): Promise<void> {
  const [code, ms] = await timed(promise)
  expect(code).toBe('ERR_AUTH_UNAVAILABLE')
  expect(ms).toBeLessThan(longest)
}

/** The same store as an object of its own, to be changed in part. */
function bound(store: PostgresSessionStore): SessionStore {
  return {
    create: (session, limits) => store.create(session, limits),
    find: (ref) => store.find(ref),
    rotate: (rotation) => store.rotate(rotation),
    revoke: (ref, reason) => store.revoke(ref, reason),
    epochOf: (user) => store.epochOf(user),
    revokeAll: (user, reason, kept) => store.revokeAll(user, reason, kept),
    revokeWithin: (...given) => store.revokeWithin(...given),
    erase: (user) => store.erase(user),
    list: (user) => store.list(user),
    recentlyRevoked: (within, user) => store.recentlyRevoked(within, user),
  }
}

/** A Redis whose scripts that write can be made to fail: at once or, of one script, when the test says so. */
function failingRedis(redis: Redis) {
  let failing = false
  let slow: string | undefined
  const last = Promise.withResolvers<void>()
  return {
    held: 0,
    fail({ slowly }: { readonly slowly?: SessionScript } = {}): () => void {
      failing = true
      slow = slowly?.sha
      return last.resolve
    },
    recover(): void {
      failing = false
    },
    get: (key: string) => redis.get(key),
    hmget: (key: string, ...fields: string[]) => redis.hmget(key, ...fields),
    eval: (lua: string, keys: number, ...args: string[]) => redis.eval(lua, keys, ...args),
    async evalsha(sha: string, keys: number, ...args: string[]): Promise<unknown> {
      const isRead = sha === firstSeenScript.sha
      if (!failing || isRead) return await redis.evalsha(sha, keys, ...args)
      if (sha === slow) {
        this.held++
        await last.promise
      }
      throw new Error('away')
    },
  }
}

const works = (auth: TestAuth, token: string): Promise<boolean> =>
  codeOf(auth.manager.authenticate(bearer(token))).then((code) => code === 'resolved')

describe('while Redis', () => {
  let server: PrivateRedis
  beforeAll(async () => {
    server = await startPrivateRedis()
  })
  afterAll(async () => {
    await server.stop()
  })

  it('is frozen, calls are unavailable in bounded time, and work again when it thaws', async () => {
    const redis = connect(server.url)
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    await auth.manager.authenticate(bearer(tokens.accessToken))
    server.freeze()
    try {
      await expectUnavailable(auth.manager.authenticate(bearer(tokens.accessToken)))
      await expectUnavailable(auth.authority.refresh(tokens.refreshToken))
      await expectUnavailable(auth.authority.revoke(tokens.session))
      await expectUnavailable(auth.signIn())
      await Promise.all(
        Array.from({ length: 20 }, () =>
          expectUnavailable(auth.manager.authenticate(bearer(tokens.accessToken))),
        ),
      )
      // After that many failures nobody waits any more.
      const [, ms] = await timed(auth.manager.authenticate(bearer(tokens.accessToken)))
      expect(ms).toBeLessThan(50)
    } finally {
      server.thaw()
    }
    // The revocation and the refresh reached it in the meantime: what it answers is the truth, and no longer 503.
    await until(
      async () =>
        (await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))) !== 'ERR_AUTH_UNAVAILABLE',
    )
    await until(async () => (await codeOf(auth.signIn())) === 'resolved')
    redis.disconnect()
  })

  it('is stopped, calls are unavailable; restarted empty, sessions in Redis alone are gone and new ones work', async () => {
    const redis = connect(server.url)
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    await server.kill()
    await expectUnavailable(auth.manager.authenticate(bearer(tokens.accessToken)))
    await expectUnavailable(auth.authority.refresh(tokens.refreshToken))
    await server.restart()
    await until(
      async () =>
        (await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))) === 'ERR_AUTH_SESSION_COLD',
    )
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_EXPIRED')
    expect(await works(auth, (await auth.signIn()).accessToken)).toBe(true)
    redis.disconnect()
  })

  it('is out of memory, sessions can still be read, and what cannot be written is unavailable', async () => {
    await using small = await startPrivateRedis({
      args: ['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction'],
    })
    const redis = connect(small.url)
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    await auth.manager.authenticate(bearer(tokens.accessToken))
    for (const size of [50_000, 1_000, 10]) {
      for (let index = 0; ; index++) {
        const written = await redis.set(`fill:${size}:${index}`, 'x'.repeat(size)).catch(() => 'full')
        if (written !== 'OK') break
      }
    }
    expect(await works(auth, tokens.accessToken)).toBe(true)
    await expectUnavailable(auth.signIn())
    await expectUnavailable(auth.authority.refresh(tokens.refreshToken))
    await redis.flushall()
    await until(async () => (await codeOf(auth.signIn())) === 'resolved')
    redis.disconnect()
  })

  it('has become a read-only replica in a failover, changes are unavailable', async () => {
    await using replica = await startPrivateRedis()
    const redis = connect(replica.url)
    await using auth = await createTestAuth({ redis })
    const tokens = await auth.signIn()
    await redis.replicaof('127.0.0.1', '1')
    await expectUnavailable(auth.signIn())
    await expectUnavailable(auth.authority.revoke(tokens.session))
    expect(await works(auth, tokens.accessToken)).toBe(true)
    await redis.replicaof('NO', 'ONE')
    expect(await auth.authority.revoke(tokens.session)).toBe(true)
    redis.disconnect()
  })

  it('has answered and this process was too busy to read it, the call succeeds', async () => {
    const redis = connect(server.url)
    await until(async () => (await redis.ping()) === 'PONG')
    await using auth = await createTestAuth({ redis, authority: { commandTimeout: 80 } })
    await auth.authority.revoke((await auth.signIn()).session)
    const { session } = await auth.signIn()
    const revoked = auth.authority.revoke(session)
    // The command leaves (its script is known by now), then nothing runs here for longer than the timeout.
    await new Promise((resolve) => process.nextTick(resolve))
    const busyUntil = performance.now() + 160
    while (performance.now() < busyUntil);
    expect(await revoked).toBe(true)
    redis.disconnect()
  })

  it('is frozen, a sign-in that was answered 503 makes no session later, and ends none', async () => {
    const redis = connect(server.url)
    await using auth = await createTestAuth({ redis, authority: { maxSessionsPerUser: 3 } })
    const good = [await auth.signIn(), await auth.signIn()]
    server.freeze()
    try {
      await Promise.all(Array.from({ length: 4 }, () => expectUnavailable(auth.signIn())))
    } finally {
      server.thaw()
    }
    await until(async () => (await codeOf(auth.signIn())) === 'resolved')
    for (const { accessToken } of good) expect(await works(auth, accessToken)).toBe(true)
    expect(await auth.authority.list({ userId: 'alice', tenantId: auth.tenantId })).toHaveLength(3)
    redis.disconnect()
  })

  it.each(['reaches Redis late', 'is answered, and the answer gets lost'] as const)(
    'is slow, a sign-in that %s leaves no session and ends none',
    async (how) => {
      const redis = connect(server.url)
      const sent = Promise.withResolvers<void>()
      const isCreate = (sha: string): boolean => sha === createScript.sha
      let gone = 0
      const slow: SessionRedis = {
        get: (key) => redis.get(key),
        hmget: (key, ...fields) => redis.hmget(key, ...fields),
        eval: (lua, keys, ...args) => redis.eval(lua, keys, ...args),
        async evalsha(sha, keys, ...args) {
          const isLate = failing && isCreate(sha)
          if (isLate && how === 'reaches Redis late') await sent.promise
          const answer = await redis.evalsha(sha, keys, ...args)
          if (isLate) gone++
          if (isLate) throw new Error('The connection was lost.')
          return answer
        },
      }
      let failing = false
      await using auth = await createTestAuth({
        redis: slow,
        authority: { maxSessionsPerUser: how === 'reaches Redis late' ? 2 : 9, commandTimeout: 200 },
      })
      const good = [await auth.signIn(), await auth.signIn()]
      failing = true
      const attempts = Array.from({ length: 3 }, () => expectUnavailable(auth.signIn()))
      await Promise.all(attempts)
      sent.resolve()
      await until(() => gone === 3)
      failing = false
      const user = { userId: 'alice', tenantId: auth.tenantId }
      await until(async () => (await auth.authority.list(user)).length === 2)
      for (const { accessToken } of good) expect(await works(auth, accessToken)).toBe(true)
      redis.disconnect()
    },
  )

  it('is silent, a call waits no longer than it is told', async () => {
    const redis = connect(server.url)
    await until(async () => (await redis.ping()) === 'PONG')
    const commandTimeout = 30
    await using auth = await createTestAuth({
      redis,
      authority: { commandTimeout: '2s' },
      manager: { commandTimeout },
    })
    const { keys, issuer, audience, secrets } = auth
    await using hasty = createSessionAuthority({ redis, keys, issuer, audience, secrets, commandTimeout })
    const { accessToken } = await auth.signIn()
    server.freeze()
    try {
      for (const call of [
        () => auth.manager.authenticate(bearer(accessToken)),
        () => hasty.signIn({ userId: 'u', tenantId: 't' }),
      ]) {
        const [code, ms] = await timed(call())
        expect(code).toBe('ERR_AUTH_UNAVAILABLE')
        expect(ms).toBeGreaterThanOrEqual(10)
        expect(ms).toBeLessThan(300)
      }
    } finally {
      server.thaw()
    }
    redis.disconnect()
  })
})

describe('with PostgreSQL behind it', () => {
  let server: PrivateRedis
  let database: SessionDatabase
  beforeAll(async () => {
    server = await startPrivateRedis()
    database = await createSessionDatabase()
  })
  afterAll(async () => {
    await server.stop()
    await database[Symbol.asyncDispose]()
  })

  it('a Redis that comes back empty is filled again, and revoked sessions stay revoked', async () => {
    const redis = connect(server.url)
    const store = database.store()
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: { sessionLookup: (ref) => store.find(ref) },
    })
    const alive = await auth.signIn()
    const revoked = await auth.signIn()
    await auth.authority.revoke(revoked.session)
    await server.restart()
    await until(() => works(auth, alive.accessToken))
    expect(await codeOf(auth.manager.authenticate(bearer(revoked.accessToken)))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
    const next = await auth.authority.refresh(alive.refreshToken)
    expect(await works(auth, next.accessToken)).toBe(true)
    redis.disconnect()
  })

  it('a Redis that evicts what it likes loses no session, and brings none back', async () => {
    await using evicting = await startPrivateRedis()
    const redis = connect(evicting.url)
    const store = database.store()
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: { sessionLookup: (ref) => store.find(ref) },
    })
    const alive = await auth.signIn()
    const revoked = await auth.signIn()
    await auth.authority.revoke(revoked.session)
    const keys = [sessionKey(alive.session), sessionKey(revoked.session)]
    expect(await redis.exists(...keys)).toBe(2)
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await redis.config('SET', 'maxmemory', String(used + 300_000))
    let count = 0
    await until(async () => {
      const fill = redis.pipeline()
      for (let index = 0; index < 100; index++) fill.set(`fill:${count++}`, 'x'.repeat(1_000))
      await fill.exec()
      return (await redis.exists(...keys)) === 0
    })
    await redis.config('SET', 'maxmemory', '0')
    expect(await works(auth, alive.accessToken)).toBe(true)
    expect(await codeOf(auth.manager.authenticate(bearer(revoked.accessToken)))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
    expect(await codeOf(auth.authority.refresh(revoked.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    redis.disconnect()
  })

  it('a refresh changes nothing while Redis is away, so that it can be repeated at any later time', async () => {
    const redis = connect(server.url)
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store, grace: 0 } })
    const tokens = await auth.signIn()
    await server.kill()
    await expectUnavailable(auth.authority.refresh(tokens.refreshToken))
    await server.restart()
    await until(async () => (await redis.ping().catch(() => '')) === 'PONG')
    await until(async () => (await codeOf(auth.authority.refresh(tokens.refreshToken))) === 'resolved')
    redis.disconnect()
  })

  it.each(['revoke', 'revokeAll'] as const)(
    'a %s that Redis could not hear is not reported as done, and reaches it as soon as it can',
    async (how) => {
      await using proxy = await startProxy(server.port)
      const far = connect(proxy.url)
      const near = connect(server.url)
      await using auth = await createTestAuth({ redis: far, authority: { store: database.store() } })
      const tokens = await auth.signIn()
      proxy.cut()
      await expectUnavailable(auth.authority[how](tokens.session))
      expect(auth.events.at(-1)?.type).toBe(how === 'revoke' ? 'session.revoked' : 'user.sessions-revoked')
      expect(await near.hget(sessionKey(tokens.session), 'st')).toBe('a')
      proxy.restore()
      await until(async () => (await near.hget(sessionKey(tokens.session), 'st')) === 'r')
      await until(
        async () =>
          (await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))) ===
          'ERR_AUTH_SESSION_REVOKED',
      )
      far.disconnect()
      near.disconnect()
    },
  )

  it('a revocation that waits for Redis is not pushed aside by a refresh that began before it', async () => {
    const near = connect(server.url)
    const failing = failingRedis(near)
    await using auth = await createTestAuth({ redis: failing, authority: { store: database.store() } })
    const tokens = await auth.signIn()
    const lastWord = failing.fail({ slowly: advanceScript })
    const refreshed = auth.authority.refresh(tokens.refreshToken)
    await until(() => failing.held > 0)
    await expectUnavailable(auth.authority.revoke(tokens.session))
    lastWord()
    await refreshed
    failing.recover()
    await until(async () => (await near.hget(sessionKey(tokens.session), 'st')) === 'r')
    near.disconnect()
  })

  it('what Redis never takes keeps no other revocation from it', async () => {
    const near = connect(server.url)
    const failing = failingRedis(near)
    await using auth = await createTestAuth({ redis: failing, authority: { store: database.store() } })
    const broken = await auth.signIn()
    const others = [await auth.signIn(), await auth.signIn({ userId: 'bob' })]
    await near.set(sessionKey(broken.session), 'no hash')
    failing.fail()
    for (const { session } of [broken, ...others]) await expectUnavailable(auth.authority.revoke(session))
    failing.recover()
    const isKnown = async ({ session }: (typeof others)[0]): Promise<boolean> =>
      (await near.hget(sessionKey(session), 'st')) === 'r'
    for (const other of others) await until(() => isKnown(other))
    // Nor when an authority starts anew.
    for (const { session } of others) await near.del(sessionKey(session))
    await expectUnavailable(auth.authority.reconcile())
    for (const other of others) expect(await isKnown(other)).toBe(true)
    await near.del(sessionKey(broken.session))
    near.disconnect()
  })

  it('a refresh that the database has committed gives its tokens, and Redis hears of it as soon as it can', async () => {
    await using proxy = await startProxy(server.port)
    const far = connect(proxy.url)
    const near = connect(server.url)
    const store = database.store()
    const rotate: typeof store.rotate = async (rotation) => {
      const result = await store.rotate(rotation)
      proxy.cut()
      return result
    }
    const cutting = { ...bound(store), rotate }
    await using auth = await createTestAuth({ redis: far, authority: { store: cutting } })
    const tokens = await auth.signIn()
    const next = await auth.authority.refresh(tokens.refreshToken)
    expect(await near.hget(sessionKey(tokens.session), 'gen')).toBe('1')
    proxy.restore()
    await until(async () => (await near.hget(sessionKey(tokens.session), 'gen')) === '2')
    await until(() => works(auth, next.accessToken))
    far.disconnect()
    near.disconnect()
  })

  it('an authority that starts anew tells Redis of what was revoked before it crashed', async () => {
    const redis = connect(server.url)
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store } })
    const tokens = await auth.signIn()
    await store.revoke(tokens.session, 'administrator')
    expect(await works(auth, tokens.accessToken)).toBe(true)
    expect(await auth.authority.reconcile()).toBeGreaterThanOrEqual(1)
    expect(await codeOf(auth.manager.authenticate(bearer(tokens.accessToken)))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
    redis.disconnect()
  })

  it('a database that is away makes refresh and sign-in unavailable, and leaves calls alone', async () => {
    const redis = connect(server.url)
    const store = Object.assign(database.store(), { rotate: () => Promise.reject(new Error('down')) })
    await using auth = await createTestAuth({ redis, authority: { store } })
    const tokens = await auth.signIn()
    await expectUnavailable(auth.authority.refresh(tokens.refreshToken))
    expect(await works(auth, tokens.accessToken)).toBe(true)
    redis.disconnect()
  })
})

describe('a half-open connection in tracked mode', () => {
  it('leaves a revoked session standing for at most the lease', async () => {
    await using server = await startPrivateRedis()
    await using proxy = await startProxy(server.port)
    const near = connect(server.url)
    const far = connect(proxy.url)
    let trusted: Promise<void> | undefined
    const auth = await createTestAuth({
      redis: near,
    })
    const { keys, issuer, audience, secrets, clock } = auth
    const lease = 300
    const manager = createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: far,
      keys,
      issuer,
      audience,
      cnf: { secret: secrets.cnf },
      clock,
      freshness: 'tracked',
      track: (options) => {
        const cache = createTrackedCache({ client: far, lease, ...options })
        trusted = cache.whenTrusted()
        return cache
      },
    })
    await trusted
    const { accessToken, session } = await auth.signIn()
    await manager.authenticate(bearer(accessToken))
    await manager.authenticate(bearer(accessToken))
    proxy.swallow()
    await auth.authority.revoke(session)
    const revokedAt = performance.now()
    let lastPass = revokedAt
    await until(async () => {
      const code = await codeOf(manager.authenticate(bearer(accessToken)))
      if (code === 'resolved') lastPass = performance.now()
      return code !== 'resolved'
    })
    expect(lastPass - revokedAt).toBeLessThanOrEqual(lease + 50)
    await manager.close()
    await auth.close()
    far.disconnect()
    near.disconnect()
  })
})
