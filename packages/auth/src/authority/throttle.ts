import { hash, type KeyObject } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { option, type Option, parseDuration, type ResolvedOptions, safeEqual } from '@quintet/core/kit'
import { canonicalAddress, networkOf } from '@quintet/core/http'
import { AuthError, Refusal } from '../errors.ts'
import type { AuthEvent } from '../audit.ts'
import { hmac } from '../secrets.ts'
import { newRefreshId } from './refresh-token.ts'

/** The part of a rate limiter that is needed; `createRateLimiter` of `@quintet/redis` fits. */
export interface AttemptLimiter {
  /** `onUnavailable` says what to do while the shared count cannot be had: fail, or count in this process. */
  consume(
    key: string,
    limit: AttemptLimit,
    options: { readonly onUnavailable: 'refuse' | 'local' },
  ): Promise<{ readonly allowed: boolean; readonly retryAfter: number }>
  /** Gives back one attempt. */
  refund(key: string, limit: AttemptLimit): Promise<void>
  /** Gives the key all of its attempts again. */
  reset(key: string): Promise<void>
}

/** How many attempts a key has per period (e.g. `'15m'`). */
export interface AttemptLimit {
  readonly limit: number
  readonly period: Duration
  readonly burst?: number
}

/** Limits of attempts to sign in, each counted for itself, and of refreshes. */
export interface ThrottleOptions {
  readonly limiter: AttemptLimiter
  /** That were wrong, from one address (one /64 network of IPv6), to whatever account. @defaultValue 100 in 15 minutes */
  readonly perAddress?: AttemptLimit
  /** To one account from one address. A successful sign-in gives all of them again. @defaultValue 10 in 15 minutes */
  readonly perAccountAndAddress?: AttemptLimit
  /** That were wrong, to one account from all devices together that it has never signed in on. @defaultValue 100 in 15 minutes */
  readonly perAccount?: AttemptLimit
  /** To one account from one device that it has signed in on. Strangers cannot use these up. @defaultValue 10 in 15 minutes */
  readonly perDevice?: AttemptLimit
  /** Refreshes of one session. @defaultValue 60 in a minute */
  readonly perSession?: AttemptLimit
}

type Limits = Required<Omit<ThrottleOptions, 'limiter'>>

export const throttleDefaults: Readonly<Limits> = Object.freeze({
  perAddress: Object.freeze({ limit: 100, period: '15m' }),
  perAccountAndAddress: Object.freeze({ limit: 10, period: '15m' }),
  perAccount: Object.freeze({ limit: 100, period: '15m' }),
  perDevice: Object.freeze({ limit: 10, period: '15m' }),
  perSession: Object.freeze({ limit: 60, period: '1m' }),
})

const limitSpec = {
  limit: option.count(undefined, { min: 1 }),
  period: option.duration(),
  burst: option.count(undefined, { min: 1 }).optional(),
}

function limitOption(fallback: AttemptLimit): Option<AttemptLimit> {
  return option
    .nested(limitSpec)
    .map(({ burst, ...limit }): AttemptLimit => (burst === undefined ? limit : { ...limit, burst }))
    .or({ ...fallback, period: parseDuration(fallback.period) })
}

export const throttleSpec = {
  limiter: option.collaborator<AttemptLimiter>(
    ['consume', 'refund', 'reset'],
    'a rate limiter, e.g. createRateLimiter of @quintet/redis',
  ),
  perAddress: limitOption(throttleDefaults.perAddress),
  perAccountAndAddress: limitOption(throttleDefaults.perAccountAndAddress),
  perAccount: limitOption(throttleDefaults.perAccount),
  perDevice: limitOption(throttleDefaults.perDevice),
  perSession: limitOption(throttleDefaults.perSession),
}

/** Who tries to sign in. */
export interface SignInAttempt {
  /** What names the account: tenant and user name, or an e-mail address. */
  readonly account: string
  /** The client's address, as a trusted proxy tells it: `call.client.address` of a procedure. */
  readonly address?: string | null | undefined
  /** What {@link AdmittedAttempt.succeeded} gave this device, e.g. in a cookie. */
  readonly deviceToken?: string | undefined
}

/** An attempt that may go on to the password. */
export interface AdmittedAttempt {
  /**
   * To be called when the password was right: gives the account all attempts from here again, and the address this one, so
   * that many who share an address do not lock each other out. Resolves to the token by
   * which this device is known from now on, to be kept in a cookie (`SessionCookies.setDevice`).
   */
  succeeded(): Promise<string>
}

/** Counts attempts. Keys hold hashes, so that accounts and addresses cannot be read in Redis. */
export class Throttle {
  readonly #limiter: AttemptLimiter
  readonly #limits: Limits
  readonly #audit: (event: AuthEvent) => void

  constructor(
    { limiter, ...limits }: ResolvedOptions<typeof throttleSpec>,
    audit: (event: AuthEvent) => void,
  ) {
    this.#limiter = limiter
    this.#limits = limits
    this.#audit = audit
  }

  /**
   * Counts an attempt: by address first, so that one that has used up its attempts costs no account any. While the
   * shared count cannot be had all sign-ins are refused: passwords could be guessed in each process anew.
   */
  async signIn(
    account: string,
    address: string | undefined,
    device: string | undefined,
  ): Promise<() => Promise<void>> {
    const { perAddress, perAccountAndAddress, perAccount, perDevice } = this.#limits
    const budgets =
      device === undefined
        ? [
            ...(address === undefined ? [] : [{ key: `address:${address}`, limit: perAddress }]),
            { key: `account:${account}|address:${address ?? ''}`, limit: perAccountAndAddress },
            { key: `account:${account}`, limit: perAccount },
          ]
        : [{ key: `account:${account}|device:${device}`, limit: perDevice }]
    for (const { key, limit } of budgets) await this.#take('sign-in', key, limit, 'refuse')
    return async () => {
      // What an address may do to other accounts does not grow by a sign-in to one of its own: it gets back this attempt.
      const given = budgets.map(({ key, limit }) =>
        limit === perAccountAndAddress || limit === perDevice
          ? this.#limiter.reset(keyOf(key))
          : this.#limiter.refund(keyOf(key), limit),
      )
      // The sign-in stands whether or not it is forgotten that there were others before it.
      await Promise.allSettled(given)
    }
  }

  /** A refresh token cannot be guessed, so that here each process may count for itself for a while. */
  async refresh(sessionId: string): Promise<void> {
    await this.#take('refresh', `session:${sessionId}`, this.#limits.perSession, 'local')
  }

  async #take(
    what: 'sign-in' | 'refresh',
    key: string,
    limit: AttemptLimit,
    onUnavailable: 'refuse' | 'local',
  ): Promise<void> {
    const result = await this.#bounded(() => this.#limiter.consume(keyOf(key), limit, { onUnavailable }))
    if (result.allowed) return
    this.#audit({ type: 'attempt.throttled', what, retryAfter: result.retryAfter })
    throw new AuthError('ERR_AUTH_THROTTLED', { retryAfter: result.retryAfter })
  }

  async #bounded<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'failed'
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: new Refusal(`Rate limiter: ${reason}`) })
    }
  }
}

function keyOf(key: string): string {
  return `auth:${hash('sha256', key, 'base64url')}`
}

/** One spelling of an account: without outer white space, in lower case, composed (NFKC). */
export function normalizeAccount(account: string): string {
  return account.trim().normalize('NFKC').toLowerCase()
}

/**
 * One spelling of an address: IPv4 as such, of IPv6 the /64 network, since whoever has one address there has all.
 *
 * @throws TypeError when it is none.
 */
export function normalizeAddress(address: string, at: string): string {
  if (canonicalAddress(address) !== undefined) return networkOf(address)
  throw new TypeError(`${at}: ${JSON.stringify(address)} is no IP address.`)
}

/**
 * Tells devices that an account has signed in on from others: `id.mac`, for one account.
 *
 * @see https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
 */
export class DeviceTokens {
  readonly #keys: readonly KeyObject[]

  /** The present key first. */
  constructor(keys: readonly KeyObject[]) {
    this.#keys = keys
  }

  issue(account: string): string {
    const id = newRefreshId()
    const [key] = this.#keys
    return `${id}.${key === undefined ? '' : macOf(key, id, account)}`
  }

  /** The device's id; undefined when the token is not one of ours for this account. */
  idOf(token: string | undefined, account: string): string | undefined {
    const [id = '', mac = '', ...more] = (token ?? '').split('.')
    if (!/^[A-Za-z0-9_-]{16}$/.test(id) || more.length > 0) return undefined
    return this.#keys.some((key) => safeEqual(macOf(key, id, account), mac)) ? id : undefined
  }
}

function macOf(key: KeyObject, id: string, account: string): string {
  return hmac(key, `device|${id}|${account}`).toString('base64url')
}
