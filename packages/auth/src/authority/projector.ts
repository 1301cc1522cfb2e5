import { isQuintetError, type Logger } from '@quintet/core'
import { indexKey, sessionKey, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { FirstSeen } from '../sessions/session-store.ts'
import type { SessionWarmer } from '../sessions/session-warmer.ts'

/** How many steps may wait for Redis; beyond that the oldest is left to `reconcile()`. */
const maxWaiting = 10_000
const retryInterval = 250

/**
 * Brings what the store has committed over to Redis. A step that Redis cannot take now is repeated until it can. The
 * order does not matter: Redis lets a revocation win over a rotation, and a newer rotation over an older one.
 */
export class Projector implements AsyncDisposable {
  readonly #registry: SessionRegistry
  readonly #warmer: SessionWarmer
  readonly #logger: Logger
  readonly #waiting = new Map<string, () => Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false

  constructor(registry: SessionRegistry, warmer: SessionWarmer, logger: Logger) {
    this.#registry = registry
    this.#warmer = warmer
    this.#logger = logger
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
      this.#later(`rotated ${sessionKey(record)} ${record.generation}`, () => this.#advance(record), error)
      return 'OK'
    }
  }

  /** After a revocation. Rejects when Redis does not know yet; it is told as soon as it can be. */
  async revoked(ref: SessionRef, reason: string): Promise<void> {
    await this.#nowOrLater(`revoked ${sessionKey(ref)}`, () => this.#registry.revoke(ref, reason))
  }

  /** The same for many sessions of one user. */
  async revokedAll(
    user: UserRef,
    reason: string,
    options: Parameters<SessionRegistry['revokeAll']>[2],
  ): Promise<void> {
    const key = `revoked ${indexKey(user)} ${options.epoch ?? 0}`
    await this.#nowOrLater(key, () => this.#registry.revokeAll(user, reason, options))
  }

  /** Steps that Redis has not taken yet. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Gives up what waits. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
    this.#waiting.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #advance(record: SessionRecord): Promise<'OK' | 'REVOKED'> {
    const advanced = await this.#registry.advance(record)
    if (advanced === 'REVOKED') return 'REVOKED'
    if (advanced === 'COLD') await this.#warmer.warm(record)
    return 'OK'
  }

  async #nowOrLater(key: string, step: () => Promise<unknown>): Promise<void> {
    try {
      await step()
      this.#waiting.delete(key)
    } catch (error) {
      this.#later(key, step, error)
      throw error
    }
  }

  #later(key: string, step: () => Promise<unknown>, error: unknown): void {
    if (this.#closed) return
    if (this.#waiting.size === 0) {
      const reason = isQuintetError(error) ? error.code : 'unknown'
      this.#logger.warn({ reason }, 'redis is behind the session store')
    }
    this.#putLast(key, step)
    if (this.#waiting.size > maxWaiting) this.#waiting.delete(this.#waiting.keys().next().value ?? '')
    this.#schedule()
  }

  #putLast(key: string, step: () => Promise<unknown>): void {
    this.#waiting.delete(key)
    this.#waiting.set(key, step)
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#waiting.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = this.#retry().finally(() => this.#schedule())
    }, retryInterval)
    this.#timer.unref()
  }

  async #retry(): Promise<void> {
    for (const [key, step] of this.#waiting) {
      try {
        await step()
      } catch {
        // Behind the others: what Redis will never take must not keep them from it.
        if (this.#waiting.get(key) === step) this.#putLast(key, step)
        return
      }
      if (this.#waiting.get(key) === step) this.#waiting.delete(key)
      if (this.#closed) return
    }
    this.#logger.info({}, 'redis has caught up with the session store')
  }
}
