import { hash } from 'node:crypto'
import { AuthError, Refusal } from './errors.ts'
import type { AuthEvent } from './audit.ts'

/** The part of a rate limiter that is needed; `createRateLimiter` of `@quintet/redis` fits. */
export interface AttemptLimiter {
  consume(
    key: string,
    limit: AttemptLimit,
  ): Promise<{ readonly allowed: boolean; readonly retryAfter: number }>
}

/** How many attempts a key has per period (e.g. `'15m'`). */
export interface AttemptLimit {
  readonly limit: number
  readonly period: number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`
  readonly burst?: number
}

export interface ThrottleOptions {
  readonly limiter: AttemptLimiter
  /** Attempts to sign in to one account, whoever makes them. @defaultValue 10 in 15 minutes */
  readonly perAccount?: AttemptLimit
  /** Attempts to sign in from one address, to whatever account. @defaultValue 100 in 15 minutes */
  readonly perAddress?: AttemptLimit
  /** Refreshes of one session. @defaultValue 60 in a minute */
  readonly perSession?: AttemptLimit
}

export const throttleDefaults: Readonly<{
  perAccount: AttemptLimit
  perAddress: AttemptLimit
  perSession: AttemptLimit
}> = Object.freeze({
  perAccount: Object.freeze({ limit: 10, period: '15m' }),
  perAddress: Object.freeze({ limit: 100, period: '15m' }),
  perSession: Object.freeze({ limit: 60, period: '1m' }),
})

/** Counts attempts. Keys hold hashes, so that nobody reads accounts and addresses out of Redis. */
export class Throttle {
  readonly #options: Required<ThrottleOptions>
  readonly #audit: (event: AuthEvent) => void

  constructor(options: ThrottleOptions, audit: (event: AuthEvent) => void) {
    this.#options = { ...throttleDefaults, ...options }
    this.#audit = audit
  }

  /** Both limits count, also for accounts that do not exist. */
  async signIn(account: string, address: string | undefined): Promise<void> {
    await this.#take('sign-in', `account:${account.trim().toLowerCase()}`, this.#options.perAccount)
    if (address !== undefined) await this.#take('sign-in', `address:${address}`, this.#options.perAddress)
  }

  async refresh(sessionId: string): Promise<void> {
    await this.#take('refresh', `session:${sessionId}`, this.#options.perSession)
  }

  async #take(what: 'sign-in' | 'refresh', key: string, limit: AttemptLimit): Promise<void> {
    let result: { readonly allowed: boolean; readonly retryAfter: number }
    try {
      result = await this.#options.limiter.consume(`auth:${hash('sha256', key, 'base64url')}`, limit)
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'failed'
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: new Refusal(`Rate limiter: ${reason}`) })
    }
    if (result.allowed) return
    this.#audit({ type: 'attempt.throttled', what, retryAfter: result.retryAfter })
    throw new AuthError('ERR_AUTH_THROTTLED', { retryAfter: result.retryAfter })
  }
}
