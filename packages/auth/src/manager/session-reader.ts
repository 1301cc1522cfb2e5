import type { UserPrincipal } from '@quintet/core'
import { AuthError, Refusal } from '../errors.ts'
import { sessionKey } from '../sessions/session-keys.ts'
import type { BoundedRedis } from '../sessions/session-redis.ts'
import type { SessionWarmer } from '../sessions/session-warmer.ts'
import { refOf } from './bound-tokens.ts'
import type { TrackedSessions } from './manager-options.ts'
import type { BoundToken } from './session-check.ts'
import { isPlaceholder, toSnapshot, type SessionSnapshot } from './session-snapshot.ts'

export interface SessionReaderParts {
  readonly redis: BoundedRedis
  /** Of the hash of a session. */
  readonly fields: readonly string[]
  /** Brings back what Redis has lost; undefined where there is no database behind it. */
  readonly warmer: SessionWarmer | undefined
}

/** Reads the session behind a token: from Redis, and where Redis has lost it, from the database. */
export class SessionReader {
  readonly #redis: BoundedRedis
  readonly #fields: readonly string[]
  readonly #warmer: SessionWarmer | undefined

  constructor({ redis, fields, warmer }: SessionReaderParts) {
    this.#redis = redis
    this.#fields = fields
    this.#warmer = warmer
  }

  /** As Redis has it now. */
  async load(key: string): Promise<SessionSnapshot | undefined> {
    return toSnapshot(await this.#redis.hmget(key, this.#fields))
  }

  /** As it is now. */
  async read(token: BoundToken): Promise<SessionSnapshot | undefined> {
    return (await this.load(token.key)) ?? (await this.#warmed(token))
  }

  /** As it is kept in memory, as long as Redis vouches for that. */
  async readTracked(token: BoundToken, tracked: TrackedSessions): Promise<SessionSnapshot | undefined> {
    return (await tracked.get(token.key)) ?? (await this.#warmed(token))
  }

  /** While a session is being re-warmed it is neither there nor gone. @throws AuthError `ERR_AUTH_UNAVAILABLE` */
  async readForWatch(token: BoundToken): Promise<SessionSnapshot | undefined> {
    const values = await this.#redis.hmget(token.key, this.#fields)
    if (isPlaceholder(values)) throw new AuthError('ERR_AUTH_UNAVAILABLE')
    return toSnapshot(values) ?? (await this.#warmed(token))
  }

  /**
   * The session after Redis was compared with the database: a Redis that was rolled back takes the newest token for
   * one that was replaced. Once for a token and a state of the session: most such tokens are old indeed.
   */
  async compared(token: BoundToken, before: SessionSnapshot): Promise<SessionSnapshot> {
    if (this.#warmer === undefined || token.comparedFor === before.refreshId) return before
    await this.#warmer.reproject(refOf(token.principal))
    const session = await this.load(token.key)
    if (session === undefined) throw new AuthError('ERR_AUTH_SESSION_COLD')
    if (session.refreshId === before.refreshId) token.comparedFor = before.refreshId
    return session
  }

  /** How often all sessions of the user had been ended when this one was made. @throws AuthError when it is not active */
  async epochOf(principal: UserPrincipal): Promise<number> {
    const [state, epoch] = await this.#redis.hmget(sessionKey(refOf(principal)), ['st', 'ver'])
    if (state === 'a') return Number(epoch)
    throw new AuthError(state === 'r' ? 'ERR_AUTH_SESSION_REVOKED' : 'ERR_AUTH_SESSION_COLD')
  }

  async #warmed(token: BoundToken): Promise<SessionSnapshot | undefined> {
    if (this.#warmer === undefined) return undefined
    await this.#warmer.warm(refOf(token.principal))
    const session = await this.load(token.key)
    if (session !== undefined) return session
    // Lost again at once: that says nothing about the session.
    throw new AuthError('ERR_AUTH_UNAVAILABLE', {
      cause: new Refusal('Redis lost the session while it was re-warmed.'),
    })
  }
}
