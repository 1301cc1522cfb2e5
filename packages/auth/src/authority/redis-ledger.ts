import type { Logger } from '@quintet/core'
import { sessionKey, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { NewSession, Rotation, RotationResult, SessionLimits } from '../sessions/session-store.ts'
import { onlyRef, onlyUser } from './arguments.ts'
import { Backlog } from './backlog.ts'
import type { EndedSessions, ListedSession, SessionLedger } from './session-ledger.ts'

/** Sessions that Redis alone keeps: what it loses is lost. */
export class RedisLedger implements SessionLedger {
  readonly #registry: SessionRegistry
  readonly #limits: SessionLimits
  readonly #backlog: Backlog

  constructor(registry: SessionRegistry, limits: SessionLimits, logger: Logger) {
    this.#registry = registry
    this.#limits = limits
    this.#backlog = new Backlog(logger)
  }

  async create(session: NewSession, onEvicted: (sessionId: string) => void): Promise<SessionRecord> {
    try {
      const { record, ended } = await this.#registry.create(session, this.#limits)
      ended.forEach(onEvicted)
      return record
    } catch (error) {
      // It may have been made all the same: left active, each attempt would evict another session of the user.
      const ref = onlyRef(session)
      this.#backlog.later(
        `abandoned ${sessionKey(ref)}`,
        () => this.#registry.revoke(ref, 'abandoned'),
        error,
      )
      throw error
    }
  }

  rotate(rotation: Rotation): Promise<RotationResult> {
    return this.#registry.rotate(rotation)
  }

  revoke(ref: SessionRef, reason: string): Promise<boolean> {
    return this.#registry.revoke(ref, reason)
  }

  async revokeAll(user: UserRef, reason: string, kept: string | undefined): Promise<EndedSessions> {
    const options = { ttl: this.#limits.absolute, ...(kept === undefined ? {} : { kept }) }
    return { ended: await this.#registry.revokeAll(user, reason, options) }
  }

  async revokeWithin(): Promise<never> {
    throw new TypeError('revokeWithin: needs a session store in the database of the transaction.')
  }

  epochOf(user: UserRef): Promise<number> {
    return this.#registry.epochOf(user)
  }

  async erase(): Promise<void> {
    // What has ended left a tombstone, which holds nothing of the session.
  }

  async tellRevoked(): Promise<void> {
    // Redis decided it.
  }

  async tellRevokedAll(): Promise<void> {
    // Redis decided it.
  }

  async find(ref: SessionRef): Promise<SessionRecord | undefined> {
    return (await this.#registry.read(ref)).record
  }

  async list(user: UserRef): Promise<readonly ListedSession[]> {
    const ids = await this.#registry.sessionIds(user)
    const read = await Promise.all(
      ids.map((sessionId) => this.#registry.read({ ...onlyUser(user), sessionId })),
    )
    return read.filter((each): each is ListedSession => each.record !== undefined)
  }

  async reconcile(): Promise<number> {
    return 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#backlog.close()
  }
}
