import type { PoolClient } from 'pg'
import type { Redis } from 'ioredis'
import { CamelCasePlugin, Kysely, PostgresDialect } from 'kysely'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { sessionKey } from '../../src/sessions/session-keys.ts'
import { codeOf } from '../support/code-of.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
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

const kit = (): Promise<TestAuth> => createTestAuth({ redis, authority: { store: database.store() } })

/** A transaction that the test ends. */
async function begin(): Promise<PoolClient> {
  const client = await database.pool.connect()
  await client.query('begin')
  return client
}

/** A client whose scripts fail while `away` is true. */
function fragileRedis(): { away: boolean; readonly redis: Redis } {
  const state = {
    away: false,
    redis: new Proxy(redis, {
      get(target, name) {
        if (state.away && (name === 'evalsha' || name === 'eval'))
          return () => Promise.reject(new Error('away'))
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    }),
  }
  return state
}

describe('revokeWithin', () => {
  it('ends sessions with what else the transaction does, and with it alone', async () => {
    await using auth = await kit()
    const [alice, bob, carol] = await Promise.all(
      ['alice', 'bob', 'carol'].map((userId) => auth.signIn({ userId })),
    )
    const users = [alice, bob].map((tokens) => tokens?.session as NonNullable<typeof alice>['session'])
    const check = async (): Promise<string[]> =>
      await Promise.all(
        [alice, bob, carol].map((tokens) => codeOf(auth.authority.refresh(tokens?.refreshToken ?? ''))),
      )
    const undone = await begin()
    await auth.authority.revokeWithin(undone, users)
    await undone.query('rollback')
    undone.release()
    expect(await check()).toEqual(['resolved', 'resolved', 'resolved'])
    const done = await begin()
    const pending = await auth.authority.revokeWithin(done, users, { reason: 'removed' })
    await done.query('commit')
    done.release()
    expect(pending.ended.toSorted()).toEqual(users.map(({ sessionId }) => sessionId).toSorted())
    expect(await check()).toEqual(['ERR_AUTH_REFRESH_REVOKED', 'ERR_AUTH_REFRESH_REVOKED', 'resolved'])
    expect(await pending.announce()).toBe(true)
    expect(auth.events.filter(({ type }) => type === 'user.sessions-revoked')).toMatchObject([
      { reason: 'removed' },
      { reason: 'removed' },
    ])
  })

  it('ends them in a Kysely that renames columns', async () => {
    await using auth = await kit()
    const [alice, bob] = await Promise.all(['alice', 'bob'].map((userId) => auth.signIn({ userId })))
    const users = [alice, bob].map((tokens) => tokens?.session as NonNullable<typeof alice>['session'])
    const db = new Kysely<object>({
      dialect: new PostgresDialect({ pool: database.pool }),
      plugins: [new CamelCasePlugin()],
    })
    const pending = await db.transaction().execute((trx) => auth.authority.revokeWithin(trx, users))
    expect(await pending.announce()).toBe(true)
    for (const session of users) expect(await redis.hget(sessionKey(session), 'st')).toBe('r')
    expect(auth.events.filter(({ type }) => type === 'user.sessions-revoked')).toMatchObject(
      users.map(({ tenantId, userId, sessionId }) => ({ tenantId, userId, sessionIds: [sessionId] })),
    )
  })

  it('holds up no other revocation that Redis has missed, however many transactions are open', async () => {
    const fragile = fragileRedis()
    await using auth = await createTestAuth({ redis: fragile.redis, authority: { store: database.store() } })
    const victim = await auth.signIn({ userId: 'victim' })
    const open = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const transaction = await begin()
        await auth.authority.revokeWithin(transaction, { tenantId: auth.tenantId, userId: `moved-${n}` })
        return transaction
      }),
    )
    fragile.away = true
    expect(await codeOf(auth.authority.revoke(victim.session))).toBe('ERR_AUTH_UNAVAILABLE')
    fragile.away = false
    const begun = performance.now()
    await until(async () => (await redis.hget(sessionKey(victim.session), 'st')) === 'r')
    // Each of those steps would have waited for a lock for as long as a statement may take, which is 5 s here.
    expect(performance.now() - begun).toBeLessThan(4_000)
    for (const transaction of open) {
      await transaction.query('rollback')
      transaction.release()
    }
  })

  it('tells Redis by itself of a transaction whose owner says nothing', async () => {
    await using auth = await kit()
    const tokens = await auth.signIn()
    const transaction = await begin()
    await auth.authority.revokeWithin(transaction, tokens.session)
    await transaction.query('commit')
    transaction.release()
    await until(async () => (await redis.hget(sessionKey(tokens.session), 'st')) === 'r')
  })

  it('says so when Redis could not be told yet', async () => {
    const fragile = fragileRedis()
    await using auth = await createTestAuth({ redis: fragile.redis, authority: { store: database.store() } })
    const tokens = await auth.signIn()
    const transaction = await begin()
    const pending = await auth.authority.revokeWithin(transaction, tokens.session)
    await transaction.query('commit')
    transaction.release()
    fragile.away = true
    expect(await pending.announce()).toBe(false)
    fragile.away = false
    await until(async () => (await redis.hget(sessionKey(tokens.session), 'st')) === 'r')
  })

  it('lets the kept session go on', async () => {
    await using auth = await kit()
    const [kept, other] = [await auth.signIn(), await auth.signIn()]
    const transaction = await begin()
    const { sessionId } = kept.session
    const pending = await auth.authority.revokeWithin(transaction, kept.session, { kept: sessionId })
    await transaction.query('commit')
    transaction.release()
    await pending.announce()
    expect(await codeOf(auth.authority.refresh(kept.refreshToken))).toBe('resolved')
    expect(await codeOf(auth.authority.refresh(other.refreshToken))).toBe('ERR_AUTH_REFRESH_REVOKED')
  })

  it('holds up a sign-in that began before it, which then makes no session', async () => {
    await using auth = await kit()
    const alice = { tenantId: auth.tenantId, userId: 'alice' }
    const epoch = await auth.authority.epochOf(alice)
    const transaction = await begin()
    const pending = await auth.authority.revokeWithin(transaction, alice)
    const outcome = codeOf(auth.signIn({ epoch }))
    await until(async () => {
      const { rows } = await database.pool.query(
        `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%auth_session_epochs%'
         and datname = current_database()`,
      )
      return rows.length > 0
    })
    await transaction.query('commit')
    transaction.release()
    expect(await outcome).toBe('ERR_AUTH_SIGN_IN_OUTDATED')
    await pending.announce()
    expect(await auth.authority.list(alice)).toEqual([])
  })

  it('is refused outside of a transaction, and without a store', async () => {
    await using auth = await kit()
    const alice = { tenantId: auth.tenantId, userId: 'alice' }
    await expect(auth.authority.revokeWithin(database.pool, alice)).rejects.toThrow('needs a transaction')
    await expect(auth.authority.revokeWithin(database.pool, alice, { resaon: 'x' } as never)).rejects.toThrow(
      'reason',
    )
    await using alone = await createTestAuth({ redis })
    await expect(alone.authority.revokeWithin(database.pool, alice)).rejects.toThrow('needs a session store')
  })
})
