import { afterAll, beforeAll, describe, it } from 'vitest'
import { startPrivateRedis, type PrivateRedis } from '@quintet/test-kit'
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

let server: PrivateRedis
let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  // One of our own: its memory is used up.
  server = await startPrivateRedis()
  redis = connect(server.url)
  database = await createSessionDatabase()
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
  await database[Symbol.asyncDispose]()
})

const keys = await createKeyRing()
const secrets = deriveSecrets('the root secret of the interleavings')
let tenants = 0

/**
 * `signIn` starts another session of the user, which may evict the one that is looked at; `fill` uses up the memory of
 * Redis, `free` frees it; `mishear` lets the answer to the next command get lost; `rollBack` takes the last write back,
 * as a failover to a replica does.
 */
type Plain = (typeof plain)[number]['type']

const plain = [
  { weight: 4, type: 'call' },
  { weight: 1, type: 'revoke' },
  { weight: 1, type: 'revokeAll' },
  { weight: 2, type: 'revokeOthers' },
  { weight: 2, type: 'signIn' },
  { weight: 2, type: 'lose' },
  { weight: 1, type: 'loseAll' },
  { weight: 1, type: 'fill' },
  { weight: 2, type: 'free' },
  { weight: 2, type: 'mishear' },
  { weight: 1, type: 'rollBack' },
] as const

type Action =
  | { readonly type: 'refresh'; readonly token: number }
  | { readonly type: Plain }
  | { readonly type: 'skew'; readonly ms: number }

/** An action, and how many turns of the scheduler it lets others go ahead. */
interface Step {
  readonly action: Action
  readonly wait: number
}

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('refresh' as const), token: fc.nat(3) }) },
  ...plain.map(({ weight, type }) => ({ weight, arbitrary: fc.constant({ type }) })),
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

const storeMethods = [
  'create',
  'epochOf',
  'find',
  'rotate',
  'revoke',
  'revokeAll',
  'revokeWithin',
  'erase',
  'list',
  'recentlyRevoked',
] as const

/** Redis as clients of it see it: its last write may be taken back, and answers may get lost. */
class FragileRedis implements SessionRedis {
  #mishears = false
  #undo: (() => Promise<unknown>) | undefined
  readonly #keys: readonly string[]

  constructor(keys: readonly string[]) {
    this.#keys = keys
  }

  mishear(next = true): void {
    this.#mishears = next
  }

  async rollBack(): Promise<void> {
    await this.#undo?.()
    this.#undo = undefined
  }

  get(key: string): Promise<string | null> {
    return redis.get(key)
  }

  hmget(key: string, ...fields: string[]): Promise<(string | null)[]> {
    return redis.hmget(key, ...fields)
  }

  evalsha(sha: string, keys: number, ...args: string[]): Promise<unknown> {
    return this.#write(() => redis.evalsha(sha, keys, ...args))
  }

  eval(lua: string, keys: number, ...args: string[]): Promise<unknown> {
    return this.#write(() => redis.eval(lua, keys, ...args))
  }

  async #write(command: () => Promise<unknown>): Promise<unknown> {
    const mishears = this.#mishears
    this.#mishears = false
    const before = await Promise.all(this.#keys.map(readKey))
    this.#undo = async () => {
      for (const { key, value, expiresAt } of before) {
        await redis.del(key)
        // As in a replica, each key keeps the moment at which it expires.
        if (value !== null && expiresAt > 0) await redis.restore(key, expiresAt, value, 'ABSTTL')
        else if (value !== null) await redis.restore(key, 0, value)
      }
    }
    const answer = await command()
    if (mishears) throw new Error('The answer got lost.')
    return answer
  }
}

/** What stands at a key, and when it expires in milliseconds since the epoch: -1 for never. */
async function readKey(key: string): Promise<{ key: string; value: Buffer | null; expiresAt: number }> {
  const [value, expiresAt] = await Promise.all([redis.dumpBuffer(key), redis.pexpiretime(key)])
  return { key, value, expiresAt }
}

const setMemory = (bytes: '0' | '1'): Promise<unknown> => redis.config('SET', 'maxmemory', bytes)

/** A world of one user with one session, two apps that verify, and the truth to hold them against. */
async function play(
  scheduler: fc.Scheduler,
  steps: readonly (readonly Step[])[],
  stored: boolean,
): Promise<void> {
  const tenantId = `fc-${process.pid}-${tenants++}`
  const user = { userId: 'alice', tenantId }
  const store = stored ? held(database.store() as SessionStore, storeMethods, scheduler) : undefined
  const keysOfUser: string[] = [indexKey(user), epochKey(user)]
  const fragile = new FragileRedis(keysOfUser)
  const slowRedis = held(fragile, ['get', 'hmget', 'evalsha', 'eval'], scheduler)
  const shared = { keys, issuer: 'i', audience: 'a' }
  const evicted = new Set<string>()
  await using authority = createSessionAuthority({
    redis: slowRedis,
    commandTimeout: '10s',
    maxSessionsPerUser: 2,
    secrets,
    ...shared,
    ...(store === undefined ? {} : { store }),
    audit: (event) => {
      if (event.type === 'session.revoked' && event.reason === 'too-many-sessions')
        evicted.add(event.sessionId)
    },
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
  const first = await scheduler.waitFor(authority.signIn(user))
  const issued: SessionTokens[] = [first]
  const { session } = first
  keysOfUser.push(sessionKey(session))
  /** Set when a revocation was reported as done, or a refresh said that the session has ended. */
  let ended = false
  /** A revocation may have happened: it was begun, and has not been answered, or with 503. */
  let mayHaveEnded = false
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

  /** False when it was answered with 503: it may have happened all the same. */
  const done = async (step: Promise<unknown>): Promise<boolean> => {
    try {
      await step
      return true
    } catch (error) {
      if (isQuintetError(error) && error.code === 'ERR_AUTH_UNAVAILABLE') return false
      throw error
    }
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
          // Also where the end of a session that is used twice was what could not be told.
          if (error.code === 'ERR_AUTH_UNAVAILABLE' && each.token > 0) mayHaveEnded = true
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
      case 'revokeAll':
        mayHaveEnded = true
        if (await done(authority[each.type](session))) ended = true
        return
      case 'revokeOthers':
        await done(authority.revokeOthers(session))
        return
      case 'signIn':
        if (!(await done(authority.signIn(user).catch(ignoreRevoked)))) mayHaveEnded = true
        if (evicted.has(session.sessionId)) ended = true
        return
      case 'lose':
        lost = true
        await redis.del(sessionKey(session))
        return
      case 'loseAll':
        lost = true
        await redis.del(sessionKey(session), indexKey(session), epochKey(session))
        return
      case 'fill':
        await setMemory('1')
        return
      case 'free':
        await setMemory('0')
        return
      case 'mishear':
        fragile.mishear()
        return
      case 'rollBack':
        return
      case 'skew':
        skew = each.ms
    }
  }

  try {
    for (const together of steps) {
      await scheduler.waitFor(Promise.all(together.map(run)))
      // A failover, and then the new primary is told of what the store has revoked lately.
      if (!stored || !together.some(({ action: { type } }) => type === 'rollBack')) continue
      await setMemory('0')
      await fragile.rollBack()
      await scheduler.waitFor(done(authority.reconcile()))
    }
    skew = 0
    fragile.mishear(false)
    await setMemory('0')
    const newest = issued.at(-1) as SessionTokens
    const codes = [await scheduler.waitFor(accepts(newest)), await scheduler.waitFor(accepts(newest))]
    if (ended && codes.includes('resolved'))
      throw new Error(`a revoked session was accepted at last: ${codes.join()}`)
    if (ended || mayHaveEnded || (lost && !stored)) return
    // Alive: the newest token can be refreshed, and its successor works, also where a refresh was answered with 503.
    const next = await scheduler.waitFor(authority.refresh(newest.refreshToken))
    const code = await scheduler.waitFor(accepts(next))
    if (code !== 'resolved') throw new Error(`the successor of a live session was refused: ${code}`)
  } finally {
    await setMemory('0')
    for (const manager of managers) await manager.close()
  }
}

/** A sign-in whose session is ended at that very moment. */
function ignoreRevoked(error: unknown): void {
  if (!isQuintetError(error) || error.code !== 'ERR_AUTH_SESSION_REVOKED') throw error
}

describe('every interleaving of refresh, revocation, eviction, re-warm, loss, full memory, lost answers, failover and clock skew', () => {
  it('in PostgreSQL and Redis revives no revoked session and loses no live one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), story, (scheduler, steps) => play(scheduler, steps, true)),
      // A claim whose answer was lost is waited for, so that one of these may take seconds.
      { numRuns: 60 },
    )
  }, 240_000)

  it('in Redis alone revives no revoked session and loses none but what Redis loses', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), story, (scheduler, steps) => play(scheduler, steps, false)),
      { numRuns: 150 },
    )
  }, 120_000)
})
