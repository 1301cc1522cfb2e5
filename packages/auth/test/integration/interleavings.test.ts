import { afterAll, beforeAll, describe, it } from 'vitest'
import * as fc from 'fast-check'
import type { Redis } from 'ioredis'
import { isQuintetError, silentLogger } from '@quintet/core'
import {
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  deriveSecrets,
  type SessionRedis,
  type SessionStore,
  type SessionTokens,
} from '../../src/index.ts'
import { createTestClock } from '../../src/testing.ts'
import { epochKey, indexKey, sessionKey } from '../../src/sessions/session-keys.ts'
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

const keys = await createKeyRing()
const secrets = deriveSecrets('the root secret of the interleavings')
let tenants = 0

type Action =
  | { readonly type: 'refresh'; readonly token: number }
  | { readonly type: 'revoke' | 'revokeAll' | 'lose' | 'loseAll' | 'call' }
  | { readonly type: 'skew'; readonly ms: number }

/** An action, and how many turns of the scheduler it lets others go ahead. */
interface Step {
  readonly action: Action
  readonly wait: number
}

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('refresh' as const), token: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.constant({ type: 'call' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'revoke' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'revokeAll' as const }) },
  { weight: 2, arbitrary: fc.constant({ type: 'lose' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'loseAll' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('skew' as const), ms: fc.integer({ min: -2_000, max: 2_000 }) }),
  },
)
const step: fc.Arbitrary<Step> = fc.record({ action, wait: fc.nat(8) })
/** Steps of one inner list run at the same time; the lists one after another. */
const story = fc.array(fc.array(step, { minLength: 2, maxLength: 8 }), { minLength: 1, maxLength: 5 })

/** The same object, each of whose answers arrives only when the scheduler lets it. */
function held<T extends object>(target: T, methods: readonly (keyof T)[], scheduler: fc.Scheduler): T {
  const wrapped = methods.map((name) => {
    const method = target[name] as (...args: unknown[]) => Promise<unknown>
    const call = (...args: unknown[]): Promise<unknown> => {
      const answer = method.apply(target, args)
      // It may fail before the scheduler looks at it.
      answer.catch(() => undefined)
      return scheduler.schedule(answer)
    }
    return [name, call]
  })
  return Object.fromEntries(wrapped) as T
}

const storeMethods = ['create', 'find', 'rotate', 'revoke', 'revokeAll', 'list', 'recentlyRevoked'] as const

/** A world of one user with one session, two apps that verify, and the truth to hold them against. */
async function play(
  scheduler: fc.Scheduler,
  steps: readonly (readonly Step[])[],
  stored: boolean,
): Promise<void> {
  const tenantId = `fc-${process.pid}-${tenants++}`
  const store = stored ? held(database.store() as SessionStore, storeMethods, scheduler) : undefined
  const slowRedis = held(redis as SessionRedis, ['hmget', 'evalsha', 'eval'], scheduler)
  const shared = { keys, issuer: 'i', audience: 'a' }
  await using authority = createSessionAuthority({
    redis: slowRedis,
    commandTimeout: '10s',
    secrets,
    ...shared,
    ...(store === undefined ? {} : { store }),
  })
  const lookup = store === undefined ? {} : { sessionLookup: store.find }
  const skewed = createTestClock()
  let skew = 0
  const clock = { now: () => Date.now() + skew, monotonic: () => skewed.monotonic() }
  const managers = [undefined, clock].map((given) =>
    createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: slowRedis,
      commandTimeout: '10s',
      cnf: { secret: secrets.cnf },
      lastSeen: false,
      ...shared,
      ...lookup,
      ...(given === undefined ? {} : { clock: given }),
    }),
  )
  const first = await scheduler.waitFor(authority.signIn({ userId: 'alice', tenantId }))
  const issued: SessionTokens[] = [first]
  const { session } = first
  /** Set when a revocation was reported as done, or a refresh said that the session has ended. */
  let ended = false
  /** Redis alone keeps nothing that it loses. */
  let lost = false

  const accepts = async (tokens: SessionTokens): Promise<string> => {
    for (const manager of managers) {
      try {
        await manager.authenticate({ scheme: 'bearer', token: tokens.accessToken })
        return 'resolved'
      } catch (error) {
        if (!isQuintetError(error)) throw error
        if (manager === managers.at(-1)) return error.code
      }
    }
    return 'never'
  }

  const run = async ({ action: each, wait }: Step): Promise<void> => {
    for (let turn = 0; turn < wait; turn++) await scheduler.schedule(Promise.resolve())
    switch (each.type) {
      case 'refresh': {
        // A client that is honest refreshes with its newest token; an old one is what a thief or a slow tab has.
        const tokens = issued[Math.max(0, issued.length - 1 - each.token)] as SessionTokens
        const endedBefore = ended
        try {
          const next = await authority.refresh(tokens.refreshToken)
          if (endedBefore) throw new Error('a revoked session was refreshed')
          if (!issued.some(({ refreshToken }) => refreshToken === next.refreshToken)) issued.push(next)
        } catch (error) {
          if (!isQuintetError(error)) throw error
          if (error.code === 'ERR_AUTH_REFRESH_REUSED') ended = true
          if (error.code === 'ERR_AUTH_UNAVAILABLE') throw error
        }
        return
      }
      case 'call': {
        const endedBefore = ended
        const code = await accepts(issued.at(-1) as SessionTokens)
        if (endedBefore && code === 'resolved') throw new Error('a revoked session was accepted')
        return
      }
      case 'revoke':
        await authority.revoke(session)
        ended = true
        return
      case 'revokeAll':
        await authority.revokeAll(session)
        ended = true
        return
      case 'lose':
        lost = true
        await redis.del(sessionKey(session))
        return
      case 'loseAll':
        lost = true
        await redis.del(sessionKey(session), indexKey(session), epochKey(session))
        return
      case 'skew':
        skew = each.ms
    }
  }

  try {
    for (const together of steps) await scheduler.waitFor(Promise.all(together.map(run)))
    skew = 0
    const newest = issued.at(-1) as SessionTokens
    const codes = [await scheduler.waitFor(accepts(newest)), await scheduler.waitFor(accepts(newest))]
    if (ended && codes.includes('resolved'))
      throw new Error(`a revoked session was accepted at last: ${codes.join()}`)
    if (ended || (lost && !stored)) return
    // Alive: the newest token works, and can be refreshed.
    if (codes[1] !== 'resolved') throw new Error(`a live session was lost: ${codes.join()}`)
    const next = await scheduler.waitFor(authority.refresh(newest.refreshToken))
    if ((await scheduler.waitFor(accepts(next))) !== 'resolved')
      throw new Error('the successor of a live session was refused')
  } finally {
    for (const manager of managers) await manager.close()
  }
}

describe('every interleaving of refresh, revocation, re-warm, loss and clock skew', () => {
  it('in PostgreSQL and Redis revives no revoked session and loses no live one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), story, (scheduler, steps) => play(scheduler, steps, true)),
      { numRuns: 150 },
    )
  }, 120_000)

  it('in Redis alone revives no revoked session and loses none but what Redis loses', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), story, (scheduler, steps) => play(scheduler, steps, false)),
      { numRuns: 150 },
    )
  }, 120_000)
})
