import type { HealthCheck } from '@quintet/core'
import {
  anonymous,
  type AuthManager,
  isQuintetError,
  type Logger,
  type Principal,
  type QuintetError,
  type UserPrincipal,
} from '@quintet/core'
import {
  type AuthenticateOptions,
  type Clock,
  type Credentials,
  orAborted,
  type SessionEnd,
  systemClock,
} from '@quintet/core/kit'
import { createAudit } from '../audit.ts'
import { dpopVerifier, type DpopVerifier } from '../dpop/dpop-verifier.ts'
import { AuthError, Refusal, type AuthErrorCode } from '../errors.ts'
import { challengeOf } from '../http/challenge.ts'
import { sessionKeyPrefix, type UserRef } from '../sessions/session-keys.ts'
import { BoundedRedis } from '../sessions/session-redis.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import { SessionWarmer } from '../sessions/session-warmer.ts'
import type { AccessClaims } from '../tokens/access-claims.ts'
import type { TokenVerifier } from '../tokens/token-verifier.ts'
import { bindPrincipal, BoundTokens, invalidToken, refOf } from './bound-tokens.ts'
import { toIntrospection, type Introspection } from './introspection.ts'
import {
  resolveManagerOptions,
  type JwtAuthManagerOptions,
  type ResolvedManagerOptions,
  type TrackedSessions,
} from './manager-options.ts'
import { SessionCheck, type BoundToken } from './session-check.ts'
import { SessionReader } from './session-reader.ts'
import { snapshotFields, snapshotFieldsWithPrevious, type SessionSnapshot } from './session-snapshot.ts'
import { SessionWatcher } from './session-watcher.ts'

/** Verifies access tokens and the sessions behind them. */
export interface JwtAuthManager extends AuthManager, AsyncDisposable {
  authenticate(credentials: Credentials, options?: Partial<AuthenticateOptions>): Promise<Principal>
  /** The way of nearly every call in tracked mode: nothing to wait for. */
  recall(credentials: Credentials): Principal | undefined
  /**
   * What a resource server may know of an access token: the session is read now, and of a token that is bound to a key the
   * proof is that server's to check. For whatever is no token of an active session it is not active.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when that cannot be told now
   * @see RFC 7662 section 2.2, RFC 9449 section 6.2
   */
  introspect(accessToken: string, options?: { readonly signal?: AbortSignal }): Promise<Introspection>
  /**
   * How often all sessions of the caller had been ended when theirs was started. What they ask for is kept with it where it is
   * done later, and then held against {@link hasEndedSince}.
   *
   * @throws AuthError `ERR_AUTH_SESSION_REVOKED`, `ERR_AUTH_SESSION_COLD`, `ERR_AUTH_UNAVAILABLE`
   */
  epochOf(principal: UserPrincipal): Promise<number>
  /** Whether all sessions of a user have been ended since: they were removed, or have other roles or another password. */
  hasEndedSince(user: UserRef, epoch: number): Promise<boolean>
  watch(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable
  /** The challenges of RFC 6750, 9449 and 9470, in the scheme that the caller used. */
  challenge(error: QuintetError, presented: Credentials['scheme']): Readonly<Record<string, string>>
  /** A critical check for readiness: fails until the issuer's keys have come, and when they cannot be had any more. */
  healthCheck(): HealthCheck
  /** Ends the background work. Idempotent; leaves the Redis client to its owner. */
  close(): Promise<void>
}

type DpopCredentials = Extract<Credentials, { readonly scheme: 'dpop' }>

const endCodes: Readonly<Record<SessionEnd, AuthErrorCode>> = {
  revoked: 'ERR_AUTH_SESSION_REVOKED',
  superseded: 'ERR_AUTH_TOKEN_SUPERSEDED',
  expired: 'ERR_AUTH_SESSION_EXPIRED',
}

/** How long a revocation leaves a mark when this app re-warms a session that has ended. */
const tombstoneTtl = 6 * 60_000

/**
 * Makes the manager that verifies every call: the token, the session behind it, and that the token belongs to the
 * session's present generation.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const auth = createJwtAuthManager({
 *   logger, sessionRedis, issuer: 'https://auth.example.com', audience: 'media',
 *   keys: remoteJwks('https://auth.example.com/.well-known/jwks.json'),
 *   cnf: { secret: config.cnfSecret },
 * })
 */
export function createJwtAuthManager(options: JwtAuthManagerOptions): JwtAuthManager {
  return new Manager(resolveManagerOptions(options))
}

class Manager implements JwtAuthManager {
  readonly #verifier: TokenVerifier
  readonly #tokens: BoundTokens
  readonly #registry: SessionRegistry
  readonly #sessions: SessionReader
  readonly #tracked: TrackedSessions | undefined
  /** What calls are answered from without reading the session; none when every call reads it. */
  readonly #remembered: TrackedSessions | undefined
  readonly #check: SessionCheck
  readonly #watcher: SessionWatcher
  readonly #dpop: DpopVerifier
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #lastSeen: number | undefined
  readonly #closing = new AbortController()
  #awaitsTrust = false
  #toldOfSecret = false
  /** The keys of proofs, by the credentials of the request that they came with. */
  readonly #proven = new WeakMap<DpopCredentials, Promise<string>>()

  constructor(options: ResolvedManagerOptions) {
    const { verifier, cnf, clock = systemClock, lastSeen, sessionLookup, logger } = options
    const tolerance = verifier.clockTolerance
    const audit = createAudit(options.audit, logger, () => clock.now())
    this.#verifier = verifier
    this.#clock = clock
    this.#logger = logger
    this.#lastSeen = lastSeen === false ? undefined : lastSeen
    const redis = new BoundedRedis(options.sessionRedis, options.commandTimeout)
    this.#registry = new SessionRegistry(redis, tombstoneTtl, options.clock)
    const grace = cnf === false ? 0 : cnf.grace
    this.#check = new SessionCheck(
      cnf === false ? [] : [cnf.secret, ...cnf.previousSecrets],
      grace,
      tolerance,
    )
    this.#tokens = new BoundTokens(verifier, this.#check.binds)
    this.#dpop = dpopVerifier(redis, options.dpop, tolerance, clock)
    this.#sessions = new SessionReader({
      redis,
      fields: grace > 0 ? snapshotFieldsWithPrevious : snapshotFields,
      warmer:
        sessionLookup === undefined
          ? undefined
          : new SessionWarmer(this.#registry, sessionLookup, (ref) =>
              audit({ type: 'session.warmed', ...ref }),
            ),
    })
    this.#watcher = new SessionWatcher(
      this.#check,
      (token) => this.#sessions.readForWatch(token),
      clock,
      options.watchInterval,
    )
    this.#tracked = options.track?.({ prefix: sessionKeyPrefix, load: (key) => this.#sessions.load(key) })
    this.#tracked?.onInvalidate((key) => this.#invalidated(key))
    this.#remembered = options.freshness === 'tracked' ? this.#tracked : undefined
    this.#recheckWhenTrusted()
  }

  async authenticate(
    credentials: Credentials,
    options: Partial<AuthenticateOptions> = {},
  ): Promise<Principal> {
    const known = options.freshness === undefined ? this.recall(credentials) : undefined
    if (known !== undefined) return known
    const { signal } = options
    signal?.throwIfAborted()
    try {
      // A question to Redis cannot be taken back, but its answer need not be waited for.
      return await orAborted(this.#authenticate(credentials, options.freshness, signal), signal)
    } catch (error) {
      this.#logRefusal(error)
      throw error
    }
  }

  recall(credentials: Credentials): Principal | undefined {
    if (this.#remembered === undefined || credentials.scheme !== 'bearer') return undefined
    return this.#recall(credentials.token, this.#remembered)
  }

  epochOf(principal: UserPrincipal): Promise<number> {
    return this.#sessions.epochOf(principal)
  }

  async hasEndedSince({ tenantId, userId }: UserRef, epoch: number): Promise<boolean> {
    return (await this.#registry.epochOf({ tenantId, userId })) > epoch
  }

  watch(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable {
    if (principal.kind !== 'user' || principal.sessionId === null)
      return { [Symbol.dispose]: () => undefined }
    return this.#watcher.watch(bindPrincipal(principal), (end) => {
      Promise.try(onEnd, end).catch((error: unknown) => {
        this.#logger.error({ err: error, end }, 'what was to happen at the end of a session failed')
      })
    })
  }

  challenge(error: QuintetError, presented: Credentials['scheme']): Readonly<Record<string, string>> {
    return challengeOf(error, { realm: 'api', scheme: presented === 'dpop' ? 'DPoP' : 'Bearer' })
  }

  healthCheck(): HealthCheck {
    return {
      name: 'token-keys',
      critical: true,
      check: async () => {
        await this.#verifier.ready()
        return 'the keys of the issuer are known'
      },
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#watcher.close()
    await this.#tracked?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Callers are not told in detail why a check failed; whoever sets an app up needs to know. */
  #logRefusal(error: unknown): void {
    if (!(error instanceof AuthError)) return
    const { code, cause } = error
    this.#logger.debug(
      { code, ...(cause instanceof Refusal ? { cause: cause.message } : {}) },
      'an access token was refused',
    )
    if (code !== 'ERR_AUTH_TOKEN_SUPERSEDED' || this.#check.hasMatched || this.#toldOfSecret) return
    this.#toldOfSecret = true
    this.#logger.warn(
      {},
      'an access token does not fit its session, and none has so far: is cnf.secret the same as that of the issuer?',
    )
  }

  #invalidated(key: string | null): void {
    this.#watcher.invalidated(key)
    if (key === null) this.#recheckWhenTrusted()
  }

  /** What was written while nothing could be heard is seen as soon as it can be heard again. */
  #recheckWhenTrusted(): void {
    if (this.#tracked === undefined || this.#awaitsTrust) return
    this.#awaitsTrust = true
    this.#tracked
      .whenTrusted(this.#closing.signal)
      .then(() => this.#watcher.invalidated(null))
      .catch(() => undefined)
      .finally(() => {
        this.#awaitsTrust = false
      })
  }

  /** Undefined when the long way must be taken, also to say what is wrong. */
  #recall(text: string, tracked: TrackedSessions): UserPrincipal | undefined {
    const token = this.#tokens.recall(text)
    if (token === undefined || token.jkt !== undefined) return undefined
    const session = tracked.peek(token.key)
    const now = this.#clock.now()
    if (session === undefined || this.#check.decide(token, session, now) !== 'alive') return undefined
    this.#markSeen(token, now)
    return token.principal
  }

  async introspect(
    accessToken: string,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Introspection> {
    signal?.throwIfAborted()
    try {
      return await orAborted(this.#introspect(accessToken, signal), signal)
    } catch (error) {
      if (isQuintetError(error) && error.kind === 'unauthenticated') return { active: false }
      throw error
    }
  }

  async #introspect(accessToken: string, signal: AbortSignal | undefined): Promise<Introspection> {
    const token = await this.#tokens.verify(accessToken, signal)
    this.#markSeen(token, await this.#assertAlive(token, 'strict', signal))
    return toIntrospection(token.principal.claims as unknown as AccessClaims)
  }

  async #authenticate(
    credentials: Credentials,
    freshness: AuthenticateOptions['freshness'],
    signal: AbortSignal | undefined,
  ): Promise<Principal> {
    if (credentials.scheme === 'none') return anonymous
    if (credentials.scheme === 'attested') return credentials.principal
    const token = await this.#tokens.verify(credentials.token, signal)
    if (credentials.scheme === 'bearer' && token.jkt !== undefined) {
      throw invalidToken('A token that is bound to a key came as a bearer token.')
    }
    const now = await this.#assertAlive(token, freshness, signal)
    if (credentials.scheme === 'dpop') {
      if (token.jkt === undefined)
        throw invalidToken('A token without a key came with a proof of possession.')
      if ((await this.#provenKey(credentials)) !== token.jkt) {
        throw new AuthError('ERR_AUTH_DPOP_INVALID', { cause: new Refusal('The proof is by another key.') })
      }
    }
    this.#markSeen(token, now)
    return token.principal
  }

  /** Resolves to when it was looked at. @throws AuthError when the session has ended, or the token was replaced */
  async #assertAlive(
    token: BoundToken,
    freshness: AuthenticateOptions['freshness'],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const session = await this.#sessionOf(token, freshness)
    signal?.throwIfAborted()
    if (session === undefined) throw new AuthError('ERR_AUTH_SESSION_COLD')
    let now = this.#clock.now()
    let decision = this.#check.decide(token, session, now)
    if (decision === 'superseded') {
      const truth = await this.#sessions.compared(token, session)
      signal?.throwIfAborted()
      now = this.#clock.now()
      decision = this.#check.decide(token, truth, now)
    }
    if (decision !== 'alive') throw new AuthError(endCodes[decision])
    return now
  }

  /**
   * The thumbprint of the key by which a request is signed. A proof is good for one request, which may be checked more
   * than once: the calls of a batch, and routes that pass a request on, have the same credentials.
   */
  #provenKey(credentials: DpopCredentials): Promise<string> {
    const known = this.#proven.get(credentials)
    if (known !== undefined) return known
    const { proof, method, url, token } = credentials
    const proven = this.#dpop.verify(proof, { method, url, accessToken: token })
    this.#proven.set(credentials, proven)
    return proven
  }

  /** As fresh as it is asked for, or else as the manager is set to. */
  #sessionOf(
    token: BoundToken,
    freshness: AuthenticateOptions['freshness'],
  ): Promise<SessionSnapshot | undefined> {
    return freshness === 'strict' || this.#remembered === undefined
      ? this.#sessions.read(token)
      : this.#sessions.readTracked(token, this.#remembered)
  }

  #markSeen(token: BoundToken, now: number): void {
    // The first use tells the issuer that the answer to the refresh has arrived.
    const isFirst = token.seenAt === 0
    if (!isFirst && (this.#lastSeen === undefined || now - token.seenAt < this.#lastSeen)) return
    token.seenAt = now
    this.#registry
      .markSeen(refOf(token.principal), token.generation, this.#lastSeen !== undefined)
      .catch(() => {
        // The next use tells it again.
        if (isFirst) token.seenAt = 0
      })
  }
}
