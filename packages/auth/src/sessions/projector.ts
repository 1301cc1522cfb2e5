import type { Logger } from '@quintet/core'
import { isQuintetError } from '@quintet/core'
import { sessionKey, type SessionRef, type UserRef } from './session-keys.ts'
import type { SessionRecord } from './session-record.ts'
import type { SessionRegistry } from './session-registry.ts'
import type { SessionWarmer } from './session-warmer.ts'

/** How many steps may wait for Redis; beyond that the oldest is left to `reconcile()`. */
const maxWaiting = 10_000
const retryInterval = 250

/**
 * Brings what the store has committed over to Redis. A step that Redis cannot take now is repeated until it can, or
 * until a newer step for the same session replaces it.
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
   * After a rotation. While Redis is away the rotation stands all the same (the client must have its new tokens,
   * or its next refresh would look like theft), and Redis is told later.
   */
  async rotated(record: SessionRecord): Promise<'OK' | 'REVOKED'> {
    try {
      return await this.#advance(record)
    } catch (error) {
      this.#later(sessionKey(record), () => this.#advance(record), error)
      return 'OK'
    }
  }

  /** After a revocation. Rejects when Redis does not know yet; it is told as soon as it can be. */
  async revoked(ref: SessionRef, reason: string): Promise<void> {
    const step = (): Promise<boolean> => this.#registry.revoke(ref, reason)
    try {
      await step()
      this.#waiting.delete(sessionKey(ref))
    } catch (error) {
      this.#later(sessionKey(ref), step, error)
      throw error
    }
  }

  /** The same for many sessions of one user. */
  async revokedAll(
    user: UserRef,
    reason: string,
    options: Parameters<SessionRegistry['revokeAll']>[2],
  ): Promise<void> {
    const step = (): Promise<unknown> => this.#registry.revokeAll(user, reason, options)
    try {
      await step()
    } catch (error) {
      this.#later(`all ${user.tenantId} ${user.userId} ${options.epoch ?? 0}`, step, error)
      throw error
    }
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

  #later(key: string, step: () => Promise<unknown>, error: unknown): void {
    if (this.#closed) return
    if (this.#waiting.size === 0) {
      const reason = isQuintetError(error) ? error.code : 'unknown'
      this.#logger.warn({ reason }, 'redis is behind the session store')
    }
    this.#waiting.delete(key)
    this.#waiting.set(key, step)
    if (this.#waiting.size > maxWaiting) this.#waiting.delete(this.#waiting.keys().next().value ?? '')
    this.#schedule()
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
        return
      }
      if (this.#waiting.get(key) === step) this.#waiting.delete(key)
      if (this.#closed) return
    }
    this.#logger.info({}, 'redis has caught up with the session store')
  }
}
