import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Redis } from 'ioredis'
import { until } from '@quintet/test-kit'
import { createPostgresSessionStore, sessionTablesSql, type PostgresPool } from '../../src/postgres.ts'
import { createTestAuth, createTestClock, type TestAuth } from '../../src/testing.ts'
import { sessionKey, type SessionRef } from '../../src/sessions/session-keys.ts'
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

describe('createPostgresSessionStore', () => {
  it('uses the schema and the names that it is given', async () => {
    const { pool } = database
    const names = { schema: 'identity', sessions: 'logins', epochs: 'login_epochs' }
    await pool.query('create schema identity')
    await pool.query(sessionTablesSql(names))
    await using auth = await createTestAuth({
      redis,
      authority: { store: createPostgresSessionStore({ pool, ...names }) },
    })
    const tokens = await auth.signIn()
    await auth.authority.refresh(tokens.refreshToken)
    await auth.authority.revokeAll(tokens.session)
    const { rows } = await pool.query(
      'select generation, revoked_reason, s.epoch < e.epoch as outdated from identity.logins s join identity.login_epochs e using (tenant_id, user_id)',
    )
    expect(rows).toEqual([{ generation: 2, revoked_reason: 'signed-out-everywhere', outdated: true }])
  })

  it('refuses names that are not plain, and options that it does not know', () => {
    const { pool } = database
    for (const name of ['a"; drop table x; --', 'Upper', '', '1a']) {
      expect(() => sessionTablesSql({ sessions: name })).toThrow('not a plain lower-case name')
      expect(() => createPostgresSessionStore({ pool, schema: name })).toThrow('not a plain lower-case name')
    }
    expect(() => createPostgresSessionStore({ pool, schmea: 'x' } as never)).toThrow('Did you mean "schema"?')
    expect(() => createPostgresSessionStore({ pool: undefined as never })).toThrow('pool')
  })

  it('waits for a statement no longer than it is told', async () => {
    const { pool } = database
    const store = createPostgresSessionStore({ pool, queryTimeout: 100 })
    await using auth = await createTestAuth({ redis, authority: { store } })
    const tokens = await auth.signIn()
    const locker = await pool.connect()
    await locker.query('begin')
    await locker.query('select 1 from auth_sessions where id = $1 for update', [tokens.session.sessionId])
    const started = performance.now()
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_UNAVAILABLE')
    expect(performance.now() - started).toBeLessThan(1_000)
    await locker.query('rollback')
    locker.release()
  })

  /** Keeps everybody else from the table, as a migration does, until the returned function is called and has been heard. */
  async function lockTable(): Promise<() => Promise<void>> {
    const locker = await database.pool.connect()
    await locker.query('begin')
    await locker.query('lock table auth_sessions in access exclusive mode')
    return async () => {
      await locker.query('commit')
      locker.release()
      const others = `select 1 from pg_stat_activity
        where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()`
      await until(async () => (await database.pool.query(others)).rows.length === 0)
    }
  }

  it('makes no session for a sign-in that was answered 503, and ends none for it', async () => {
    const store = createPostgresSessionStore({ pool: database.pool, queryTimeout: 300 })
    await using auth = await createTestAuth({ redis, authority: { store, maxSessionsPerUser: 3 } })
    const good = [await auth.signIn(), await auth.signIn()]
    const unlock = await lockTable()
    const attempts = Array.from({ length: 3 }, () => codeOf(auth.signIn()))
    expect(await Promise.all(attempts)).toEqual(Array(3).fill('ERR_AUTH_UNAVAILABLE'))
    await unlock()
    await auth.signIn()
    const user = { userId: 'alice', tenantId: auth.tenantId }
    expect(await auth.authority.list(user)).toHaveLength(3)
    for (const { accessToken } of good)
      expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: accessToken }))).toBe(
        'resolved',
      )
  })

  it('ends a session that was made while its caller was told that it was not, and tells Redis of what it evicted', async () => {
    const store = database.store()
    const create = store.create
    let isDeaf = false
    store.create = async (...given) => {
      const made = await create(...given)
      if (isDeaf) throw new Error('The answer to commit got lost.')
      return made
    }
    await using auth = await createTestAuth({ redis, authority: { store, maxSessionsPerUser: 1 } })
    const evicted = await auth.signIn()
    isDeaf = true
    expect(await codeOf(auth.signIn())).toBe('ERR_AUTH_UNAVAILABLE')
    await until(async () => (await redis.hget(sessionKey(evicted.session), 'st')) === 'r')
    expect(await auth.authority.list(evicted.session)).toEqual([])
  })

  it.each(['revoke', 'revokeAll', 'revokeOthers'] as const)(
    'tells Redis of a %s that was committed after its caller was told that it failed',
    async (how) => {
      const store = database.store()
      let failing = true
      for (const name of ['revoke', 'revokeAll'] as const) {
        const step = store[name] as (...given: unknown[]) => Promise<unknown>
        store[name] = async (...given: unknown[]): Promise<never> => {
          const done = await step(...given)
          if (failing) throw new Error('The answer to commit got lost.')
          return done as never
        }
      }
      await using auth = await createTestAuth({ redis, authority: { store } })
      const [tokens, other] = [await auth.signIn(), await auth.signIn()]
      const ref = how === 'revokeOthers' ? other.session : tokens.session
      expect(await codeOf(auth.authority[how](ref))).toBe('ERR_AUTH_UNAVAILABLE')
      failing = false
      await until(async () => (await redis.hget(sessionKey(tokens.session), 'st')) === 'r')
    },
  )

  it('looks at what became of a revocation only when a commit that came late has happened', async () => {
    const arrives = Promise.withResolvers<void>()
    const slow: PostgresPool = {
      async connect() {
        const connection = await database.pool.connect()
        return {
          async query(config) {
            if (config.text !== 'commit') return await connection.query(config)
            void arrives.promise.then(() => connection.query(config)).finally(() => connection.release())
            throw new Error('No answer in time.')
          },
          release: () => undefined,
        }
      },
    }
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store } })
    const { session } = await auth.signIn()
    await expect(createPostgresSessionStore({ pool: slow }).revoke(session, 'late')).rejects.toThrow(
      'No answer',
    )
    let looked = false
    const look = store.recentlyRevoked(60_000, session).finally(() => (looked = true))
    await until(async () => {
      const { rows } = await database.pool.query(
        "select 1 from pg_locks where locktype = 'advisory' and not granted",
      )
      return rows.length === 1
    })
    expect(looked).toBe(false)
    arrives.resolve()
    expect((await look).map(({ sessionId }) => sessionId)).toEqual([session.sessionId])
  })

  it('rolls a revocation back whose caller was told that it failed', async () => {
    const store = createPostgresSessionStore({ pool: database.pool, queryTimeout: 300 })
    await using auth = await createTestAuth({ redis, authority: { store } })
    const tokens = await auth.signIn()
    const unlock = await lockTable()
    expect(await codeOf(auth.authority.revokeAll(tokens.session))).toBe('ERR_AUTH_UNAVAILABLE')
    await unlock()
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('resolved')
  })

  it('tells Redis of a session that a refresh finds to have ended', async () => {
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store } })
    const tokens = await auth.signIn()
    await store.revoke(tokens.session, 'elsewhere')
    expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: tokens.accessToken }))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
  })

  it.each(['1m', -60_000])(
    'counts the grace right with a clock that differs by %s from that of Redis',
    async (skew) => {
      let auth: TestAuth | undefined
      const ahead = createTestClock()
      const differs = typeof skew === 'number' ? skew : 60_000
      const clock = { now: () => (auth?.clock ?? ahead).now() + differs, monotonic: () => ahead.monotonic() }
      auth = await createTestAuth({ redis, authority: { store: database.store(clock), grace: '10s' } })
      const first = await auth.signIn()
      const second = await auth.authority.refresh(first.refreshToken)
      await useToken(redis, auth, second)
      auth.clock.advance('5s')
      expect((await auth.authority.refresh(first.refreshToken)).refreshToken).toBe(second.refreshToken)
      auth.clock.advance('6s')
      expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
      await auth.close()
    },
  )

  /** A sign-in with something that happens after the database has committed it, and before Redis knows. */
  async function signInWith(
    happen: (ref: SessionRef, auth: TestAuth) => Promise<unknown>,
  ): Promise<[TestAuth, string]> {
    const store = database.store()
    const { create } = store
    let auth: TestAuth | undefined
    store.create = async (session, limits) => {
      const made = await create.call(store, session, limits)
      await happen(session, auth as TestAuth)
      return made
    }
    auth = await createTestAuth({ redis, authority: { store } })
    const signedIn = auth.signIn()
    const code = await codeOf(signedIn)
    if (code !== 'resolved') return [auth, code]
    return [
      auth,
      await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: (await signedIn).accessToken })),
    ]
  }

  it('starts a session also when Redis loses its place meanwhile', async () => {
    const [auth, code] = await signInWith(async (ref) => await redis.del(sessionKey(ref)))
    expect(code).toBe('resolved')
    await auth.close()
  })

  it('gives no tokens for a session that ended while it began', async () => {
    const [auth, code] = await signInWith(async (ref, { authority }) => await authority.revokeAll(ref))
    expect(code).toBe('ERR_AUTH_SESSION_REVOKED')
    expect(auth.events.map(({ type }) => type)).toEqual(['user.sessions-revoked'])
    await auth.close()
  })

  it('ends a session for good whose used refresh token came back, whatever Redis forgets', async () => {
    const store = database.store()
    await using auth = await createTestAuth({
      redis,
      authority: { store, grace: 0 },
      manager: { sessionLookup: (ref) => store.find(ref) },
    })
    const first = await auth.signIn()
    const second = await auth.authority.refresh(first.refreshToken)
    await useToken(redis, auth, second)
    auth.clock.advance(1)
    await until(
      async () => (await codeOf(auth.authority.refresh(first.refreshToken))) === 'ERR_AUTH_REFRESH_REUSED',
    )
    expect((await store.find(first.session))?.record).toMatchObject({ state: 'revoked', reason: 'reused' })
    await redis.del(sessionKey(first.session))
    expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: second.accessToken }))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
  })

  it('deletes what ended long ago, and nothing else', async () => {
    const clock = createTestClock()
    const store = database.store(clock)
    await database.pool.query('delete from auth_sessions')
    const make = async (sessionId: string): Promise<void> => {
      const ids = { sessionId, tenantId: 'prune', userId: 'u' }
      const token = { generation: 1, refreshId: 'r', refreshHash: 'h', previousId: null, previousHash: null }
      const rest = { graceAllowed: true, aal: 1, amr: [], roles: [], permissions: [], device: {}, jkt: null }
      const any = { readEpoch: null, knownEpoch: 0 }
      await store.create(
        { ...ids, ...token, ...rest, ...any },
        { idle: 1_000, absolute: 10_000, maxSessionsPerUser: 9 },
      )
    }
    await make('old')
    clock.advance('2h')
    await make('revoked')
    await store.revoke({ sessionId: 'revoked', tenantId: 'prune', userId: 'u' }, 'signed-out')
    await make('new')
    expect(await store.prune('1h')).toBe(1)
    const { rows } = await database.pool.query<{ id: string }>('select id from auth_sessions order by id')
    expect(rows.map(({ id }) => id)).toEqual(['new', 'revoked'])
    expect(await store.recentlyRevoked(1_000)).toEqual([
      { sessionId: 'revoked', tenantId: 'prune', userId: 'u' },
    ])
  })

  it('deletes any number of them, in statements that each stay short', async () => {
    const store = database.store()
    await database.pool.query(`
      insert into auth_sessions (id, tenant_id, user_id, generation, refresh_id, refresh_hash, grace_allowed, rotated_at, created_at,
        authenticated_at, expires_at, absolute_expires_at, epoch, aal, amr, roles, permissions, device)
      select 'old-' || n, 'many', 'u', 1, 'r', 'h', true, 0, 0, 0, 1, 1, 0, 1, '{}', '{}', '{}', '{}' from generate_series(1, 10001) n`)
    expect(await store.prune('1h')).toBe(10_001)
  })

  it('lets a user sign in whose store has lost an end of all sessions that Redis knows', async () => {
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store } })
    const { session, refreshToken } = await auth.signIn()
    await auth.authority.revokeAll(session)
    // As a replica says that was behind.
    await database.pool.query('update auth_sessions set revoked_at = null where id = $1', [session.sessionId])
    await database.pool.query('delete from auth_session_epochs where user_id = $1', [session.userId])
    const epoch = await auth.authority.epochOf(session)
    expect(epoch).toBe(1)
    const again = await auth.signIn({ userId: session.userId, epoch })
    expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: again.accessToken }))).toBe(
      'resolved',
    )
    expect(await codeOf(auth.authority.refresh(refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
    expect(await store.epochOf(session)).toBe(1)
  })

  it('finds a session only by all of its ids', async () => {
    const store = database.store()
    await using auth = await createTestAuth({ redis, authority: { store } })
    const { session } = await auth.signIn()
    expect((await store.find(session))?.record.state).toBe('active')
    expect(await store.find({ ...session, userId: 'mallory' })).toBeUndefined()
    expect(await store.find({ ...session, tenantId: 'other' })).toBeUndefined()
    expect(await store.revoke({ ...session, tenantId: 'other' }, 'x')).toBe(false)
  })

  it('tells a Redis that was rolled back by one write of the newest token, and asks once for an old one', async () => {
    const store = database.store()
    let lookups = 0
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: {
        sessionLookup: (ref) => {
          lookups++
          return store.find(ref)
        },
      },
    })
    const call = ({ accessToken }: { accessToken: string }): Promise<string> =>
      codeOf(auth.manager.authenticate({ scheme: 'bearer', token: accessToken }))
    const first = await auth.signIn()
    const key = sessionKey(first.session)
    const before = (await redis.dumpBuffer(key)) as Buffer
    const second = await auth.authority.refresh(first.refreshToken)
    await redis.restore(key, 60_000, before, 'REPLACE')
    expect(await Promise.all([call(second), call(second), call(second)])).toEqual(Array(3).fill('resolved'))
    expect(lookups).toBe(1)
    for (let count = 0; count < 3; count++) expect(await call(first)).toBe('ERR_AUTH_TOKEN_SUPERSEDED')
    expect(lookups).toBe(2)
  })

  it('tells a Redis that was rolled back of a session that has ended, as soon as a token leads to it', async () => {
    const store = database.store()
    await using auth = await createTestAuth({
      redis,
      authority: { store },
      manager: { sessionLookup: (ref) => store.find(ref) },
    })
    const first = await auth.signIn()
    const key = sessionKey(first.session)
    const before = (await redis.dumpBuffer(key)) as Buffer
    const second = await auth.authority.refresh(first.refreshToken)
    await auth.authority.revoke(first.session)
    await redis.restore(key, 60_000, before, 'REPLACE')
    for (const { accessToken } of [second, first]) {
      expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: accessToken }))).toBe(
        'ERR_AUTH_SESSION_REVOKED',
      )
    }
  })

  it('waits for a free connection no longer than for a statement, and sends nothing later', async () => {
    const pool = new Pool({ connectionString: database.url, max: 1 })
    const store = createPostgresSessionStore({ pool, queryTimeout: 50 })
    await using auth = await createTestAuth({ redis, authority: { store: database.store() } })
    const { session } = await auth.signIn()
    const holder = await pool.connect()
    const { revoke } = store
    await expect(revoke(session, 'late')).rejects.toThrow('No connection was free within 50 ms')
    holder.release()
    await until(() => pool.idleCount === 1 && pool.waitingCount === 0)
    expect((await store.find(session))?.record.state).toBe('active')
    await pool.end()
  })

  it('is pruned by its authority', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const pruned: number[] = []
    const prune = async (endedBefore: number): Promise<number> => pruned.push(endedBefore)
    const store = { ...database.store(), prune }
    try {
      await using auth = await createTestAuth({ redis, authority: { store, pruneAfter: '2d' } })
      await using never = await createTestAuth({ redis, authority: { store, pruneAfter: false } })
      vi.advanceTimersByTime(3_600_000)
      expect(pruned).toEqual([2 * 86_400_000])
      await Promise.all([auth.close(), never.close()])
      vi.advanceTimersByTime(3_600_000)
      expect(pruned).toHaveLength(1)
    } finally {
      vi.useRealTimers()
    }
  })
})
