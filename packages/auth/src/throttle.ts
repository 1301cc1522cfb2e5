import { hash } from 'node:crypto'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { AuthError, Refusal } from './errors.ts'
import type { AuthEvent } from './audit.ts'

/** The part of a rate limiter that is needed; `createRateLimiter` of `@quintet/redis` fits. */
export interface AttemptLimiter {
  /** `onUnavailable` says what to do while the shared count cannot be had: fail, or count in this process. */
  consume(
    key: string,
    limit: AttemptLimit,
    options: { readonly onUnavailable: 'refuse' | 'local' },
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

const path = 'createSessionAuthority.throttle'

/** @throws TypeError naming what is wrong. */
export function checkThrottle(options: ThrottleOptions): void {
  refuseUnknownKeys(options, ['limiter', ...Object.keys(throttleDefaults)], path)
  if (typeof options.limiter?.consume !== 'function') {
    throw new TypeError(`${path}.limiter: give a rate limiter, e.g. createRateLimiter of @quintet/redis.`)
  }
  for (const name of ['perAccount', 'perAddress', 'perSession'] as const) {
    const { limit, period, burst = 1, ...others } = options[name] ?? throttleDefaults[name]
    refuseUnknownKeys({ limit, period, burst, ...others }, ['limit', 'period', 'burst'], `${path}.${name}`)
    parseDuration(period, `${path}.${name}.period`)
    for (const [key, value] of Object.entries({ limit, burst })) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new TypeError(`${path}.${name}.${key}: ${value} is not a whole number from 1.`)
      }
    }
  }
}

/** Counts attempts. Keys hold hashes, so that nobody reads accounts and addresses out of Redis. */
export class Throttle {
  readonly #options: Required<ThrottleOptions>
  readonly #audit: (event: AuthEvent) => void

  constructor(options: ThrottleOptions, audit: (event: AuthEvent) => void) {
    const { limiter, perAccount, perAddress, perSession } = options
    this.#options = {
      limiter,
      perAccount: perAccount ?? throttleDefaults.perAccount,
      perAddress: perAddress ?? throttleDefaults.perAddress,
      perSession: perSession ?? throttleDefaults.perSession,
    }
    this.#audit = audit
  }

  /**
   * Both limits count, also for accounts that do not exist. While nobody can count for all processes nobody signs in:
   * passwords could be guessed, in each process anew.
   */
  async signIn(account: string, address: string | undefined): Promise<void> {
    const { perAccount, perAddress } = this.#options
    await this.#take('sign-in', `account:${account.trim().toLowerCase()}`, perAccount, 'refuse')
    if (address !== undefined) await this.#take('sign-in', `address:${address}`, perAddress, 'refuse')
  }

  /** Nobody can guess a refresh token, so that here each process may count for itself for a while. */
  async refresh(sessionId: string): Promise<void> {
    await this.#take('refresh', `session:${sessionId}`, this.#options.perSession, 'local')
  }

  async #take(
    what: 'sign-in' | 'refresh',
    key: string,
    limit: AttemptLimit,
    onUnavailable: 'refuse' | 'local',
  ): Promise<void> {
    const hashed = `auth:${hash('sha256', key, 'base64url')}`
    let result: { readonly allowed: boolean; readonly retryAfter: number }
    try {
      result = await this.#options.limiter.consume(hashed, limit, { onUnavailable })
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'failed'
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: new Refusal(`Rate limiter: ${reason}`) })
    }
    if (result.allowed) return
    this.#audit({ type: 'attempt.throttled', what, retryAfter: result.retryAfter })
    throw new AuthError('ERR_AUTH_THROTTLED', { retryAfter: result.retryAfter })
  }
}
