import { indexKey, sessionKey, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { FirstSeen } from '../sessions/session-store.ts'
import type { SessionWarmer } from '../sessions/session-warmer.ts'
import type { Backlog } from './backlog.ts'

/**
 * Brings what the store has committed over to Redis. A step that Redis cannot take now is repeated until it can. The
 * order does not matter: Redis lets a revocation win over a rotation, and a newer rotation over an older one.
 */
export class Projector {
  readonly #registry: SessionRegistry
  readonly #warmer: SessionWarmer
  readonly #backlog: Backlog

  constructor(registry: SessionRegistry, warmer: SessionWarmer, backlog: Backlog) {
    this.#registry = registry
    this.#warmer = warmer
    this.#backlog = backlog
  }

  /**
   * Before a rotation: resolves when Redis has the session, so that it can take the rotation even while it is out of
   * memory. Resolves to what Redis knows of the use of its tokens.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE`
   */
  async prepare(ref: SessionRef): Promise<FirstSeen | undefined> {
    const [known, firstSeen] = await Promise.all([this.#registry.knows(ref), this.#registry.firstSeen(ref)])
    if (!known) await this.#warmer.warm(ref)
    return firstSeen
  }

  /**
   * After a rotation. While Redis is away the rotation stands all the same (the client must have its new tokens,
   * or its next refresh would look like theft), and Redis is told later.
   */
  async rotated(record: SessionRecord): Promise<'OK' | 'REVOKED'> {
    try {
      return await this.#advance(record)
    } catch (error) {
      const key = `rotated ${sessionKey(record)} ${record.generation}`
      this.#backlog.later(key, () => this.#advance(record), error)
      return 'OK'
    }
  }

  /** After a revocation. Rejects when Redis does not know yet; it is told as soon as it can be. */
  async revoked(ref: SessionRef, reason: string): Promise<void> {
    await this.#backlog.nowOrLater(`revoked ${sessionKey(ref)}`, () => this.#registry.revoke(ref, reason))
  }

  /** The same for many sessions of one user. */
  async revokedAll(
    user: UserRef,
    reason: string,
    options: Parameters<SessionRegistry['revokeAll']>[2],
  ): Promise<void> {
    const key = `revoked ${indexKey(user)} ${options.epoch ?? 0}`
    await this.#backlog.nowOrLater(key, () => this.#registry.revokeAll(user, reason, options))
  }

  async #advance(record: SessionRecord): Promise<'OK' | 'REVOKED'> {
    const advanced = await this.#registry.advance(record)
    if (advanced === 'REVOKED') return 'REVOKED'
    if (advanced === 'COLD') await this.#warmer.warm(record)
    return 'OK'
  }
}
