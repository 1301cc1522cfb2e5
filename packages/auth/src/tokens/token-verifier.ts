import type { Duration } from '@quintet/core'
import { type Clock, option, readOptions, type ResolvedOptions, systemClock } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import type { VerificationKeys } from '../keys/verification-keys.ts'
import {
  accessTokenType,
  checkAccessClaims,
  checkTimes,
  type AccessClaims,
  type ClaimRules,
} from './access-claims.ts'
import { keyIdOf, maxTokenLength, parseCompactJws, parseJsonObject } from './compact-jws.ts'
import { TokenCache } from './token-cache.ts'
import { verifySignature } from './verify-signature.ts'

export interface TokenCacheOptions {
  /** How many verified tokens are remembered; 0 turns the cache off. @defaultValue 10 000 */
  readonly maxEntries?: number
  /** How long, at most; never past the token's expiry. @defaultValue `'5m'` */
  readonly ttl?: Duration
}

export interface TokenVerifierOptions {
  /** The issuer's keys: {@link remoteJwks}, {@link keySet} or, in the issuer itself, its key ring. */
  readonly keys: VerificationKeys
  /** What `iss` must be. */
  readonly issuer: string
  /** What `aud` must hold one of. */
  readonly audience: string | readonly string[]
  /** How much clocks may differ. @defaultValue `'5s'` */
  readonly clockTolerance?: Duration
  /** Remembers signatures and claims, never whether the session is alive. */
  readonly tokenCache?: TokenCacheOptions
  /** Longer tokens are refused unseen, in characters. @defaultValue 8192 */
  readonly maxTokenLength?: number
  readonly clock?: Clock
}

export const tokenVerifierDefaults: Readonly<{
  clockTolerance: Duration
  tokenCache: { readonly maxEntries: number; readonly ttl: Duration }
  maxTokenLength: number
}> = Object.freeze({
  clockTolerance: '5s',
  tokenCache: Object.freeze({ maxEntries: 10_000, ttl: '5m' }),
  maxTokenLength,
})

/** A token whose signature and claims were verified. Shared between calls with the same token; others may attach to it. */
export interface VerifiedToken {
  /** Frozen. */
  readonly claims: AccessClaims
}

/** Verifies access tokens: form, signature, issuer, audience, times. Knows nothing of sessions. */
export interface TokenVerifier {
  /**
   * @throws AuthError `ERR_AUTH_TOKEN_INVALID`, `ERR_AUTH_TOKEN_EXPIRED`, or `ERR_AUTH_UNAVAILABLE` when the keys
   *   cannot be had; the signal's reason when it aborts meanwhile.
   */
  verify(token: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<VerifiedToken>
  /** The same token if it was verified before and still holds: without waiting. Otherwise undefined. */
  recall(token: string): VerifiedToken | undefined
  /**
   * Resolves when there are keys to verify with.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when they cannot be had now.
   */
  ready(): Promise<void>
  /** Milliseconds that clocks may differ by. */
  readonly clockTolerance: number
}

const defaults = tokenVerifierDefaults

/** How the options of a verifier are read; those of a manager hold them too. */
export const tokenVerifierSpec = {
  keys: option.collaborator<VerificationKeys>(['find'], 'remoteJwks(url), keySet(...) or a key ring'),
  issuer: option.text(),
  audience: option.either(
    option.text().map((one): readonly string[] => [one]),
    option.list(option.text(), { min: 1 }),
  ),
  clockTolerance: option.duration(defaults.clockTolerance),
  tokenCache: option.nested({
    maxEntries: option.count(defaults.tokenCache.maxEntries),
    ttl: option.duration(defaults.tokenCache.ttl),
  }),
  maxTokenLength: option.count(defaults.maxTokenLength, { min: 1 }),
  clock: option.clock().optional(),
}

/** Makes a verifier of access tokens. @throws TypeError for options that are unknown or make no sense. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return tokenVerifier(
    readOptions<TokenVerifierOptions, typeof tokenVerifierSpec>(
      options,
      tokenVerifierSpec,
      'createTokenVerifier',
    ),
  )
}

/** As {@link createTokenVerifier}, from options that have been read. */
export function tokenVerifier(options: ResolvedOptions<typeof tokenVerifierSpec>): TokenVerifier {
  const { keys, issuer, audience, clockTolerance, tokenCache, maxTokenLength: maxLength, clock } = options
  return new Verifier(
    keys,
    { issuer, audience, clockTolerance },
    new TokenCache(tokenCache.maxEntries, tokenCache.ttl),
    maxLength,
    clock ?? systemClock,
  )
}

class Verifier implements TokenVerifier {
  readonly clockTolerance: number
  readonly #keys: VerificationKeys
  readonly #rules: ClaimRules
  readonly #cache: TokenCache<VerifiedToken>
  readonly #maxLength: number
  readonly #clock: Clock
  #keyEpoch: number

  constructor(
    keys: VerificationKeys,
    rules: ClaimRules,
    cache: TokenCache<VerifiedToken>,
    maxLength: number,
    clock: Clock,
  ) {
    this.clockTolerance = rules.clockTolerance
    this.#keys = keys
    this.#rules = rules
    this.#cache = cache
    this.#maxLength = maxLength
    this.#clock = clock
    this.#keyEpoch = keys.epoch
  }

  recall(token: string): VerifiedToken | undefined {
    if (typeof token !== 'string' || token.length > this.#maxLength) return undefined
    return this.#remembered(token, this.#clock.now())
  }

  async ready(): Promise<void> {
    await this.#keys.ready?.()
  }

  async verify(
    token: string,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<VerifiedToken> {
    signal?.throwIfAborted()
    try {
      return await this.#verify(token, signal)
    } catch (error) {
      if (error instanceof Refusal) throw new AuthError('ERR_AUTH_TOKEN_INVALID', { cause: error })
      throw error
    }
  }

  async #verify(token: string, signal: AbortSignal | undefined): Promise<VerifiedToken> {
    const jws = parseCompactJws(token, { maxLength: this.#maxLength })
    const remembered = this.#remembered(token, this.#clock.now())
    if (remembered !== undefined) return remembered
    if (jws.header['typ'] !== accessTokenType) throw new Refusal('The token is not an access token ("typ").')
    const epoch = this.#keys.epoch
    const key = await this.#keys.find(keyIdOf(jws), signal)
    if (key === undefined) throw new Refusal('The key of the token is not known.')
    await verifySignature(token, jws, key)
    const claims = parseJsonObject(jws.payload, 'payload')
    const verified: VerifiedToken = { claims: checkAccessClaims(claims, this.#rules) }
    const now = this.#clock.now()
    this.#assertInTime(verified.claims, now)
    // A key that went away in the meantime has signed nothing that may be remembered.
    if (epoch === this.#keys.epoch) {
      this.#cache.set(token, verified, now, verified.claims.exp * 1_000 + this.clockTolerance)
    }
    return verified
  }

  #remembered(token: string, now: number): VerifiedToken | undefined {
    const epoch = this.#keys.epoch
    if (epoch !== this.#keyEpoch) {
      this.#keyEpoch = epoch
      this.#cache.clear()
      return undefined
    }
    const held = this.#cache.get(token, now)
    if (held !== undefined) this.#assertInTime(held.claims, now)
    return held
  }

  #assertInTime(claims: AccessClaims, now: number): void {
    const standing = checkTimes(claims, now, this.clockTolerance)
    if (standing === 'expired') throw new AuthError('ERR_AUTH_TOKEN_EXPIRED')
    if (standing === 'early') {
      throw new AuthError('ERR_AUTH_TOKEN_INVALID', { cause: new Refusal('The token is not valid yet.') })
    }
  }
}
