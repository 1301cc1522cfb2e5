import { randomBytes, type KeyObject } from 'node:crypto'
import { isQuintetError } from '@quintet/core'
import { type Clock, refuseUnknownKeys, systemClock } from '@quintet/core/kit'
import { createAudit, type AuthEvent } from '../audit.ts'
import { AuthError, Refusal, type AuthErrorCode } from '../errors.ts'
import { secretKey } from '../secrets.ts'
import {
  DeviceTokens,
  normalizeAccount,
  normalizeAddress,
  Throttle,
  type AdmittedAttempt,
  type SignInAttempt,
} from './throttle.ts'
import { signAccessToken } from '../tokens/sign-access-token.ts'
import { fingerprint } from '../sessions/binding.ts'
import {
  resolveAuthorityOptions,
  type ResolvedAuthorityOptions,
  type SessionAuthorityOptions,
} from './authority-options.ts'
import { Projector } from './projector.ts'
import { hashSecret, newRefreshId, RefreshTokenCodec, type RefreshToken } from './refresh-token.ts'
import { assertId, assertSessionId, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import { toSession, type Device, type Session, type SessionRecord } from '../sessions/session-record.ts'
import { assertSendsOnce, BoundedRedis } from '../sessions/session-redis.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import type { NewSession, RotationResult, SessionChange } from '../sessions/session-store.ts'
import { SessionWarmer } from '../sessions/session-warmer.ts'

/** A user who has just proved who they are. */
export interface SignIn {
  readonly userId: string
  readonly tenantId: string
  /** @defaultValue none */
  readonly roles?: readonly string[]
  /** @defaultValue none */
  readonly permissions?: readonly string[]
  /** How they proved it: RFC 8176 names such as `pwd`, `otp`, `hwk`. @defaultValue none */
  readonly amr?: readonly string[]
  /** The assurance level reached: 1 to 3 (NIST SP 800-63B). @defaultValue 1 */
  readonly aal?: number
  readonly device?: Device
  /** The thumbprint of the client's DPoP key: the session works with that key alone (RFC 9449). */
  readonly jkt?: string
}

/** What a client gets from a sign-in or a refresh. */
export interface SessionTokens {
  readonly accessToken: string
  readonly refreshToken: string
  readonly tokenType: 'Bearer' | 'DPoP'
  /** Seconds until the access token expires. */
  readonly expiresIn: number
  readonly session: Session
}

export interface RefreshOptions {
  /** The thumbprint of the key whose proof came with the request. Needed for a session that is bound to a key. */
  readonly jkt?: string
}

/** A user who has proved more, within a session. */
export interface StepUp extends RefreshOptions {
  readonly aal: number
  /** Added to those of the session. */
  readonly amr: readonly string[]
  /** Replaces the roles. @defaultValue unchanged */
  readonly roles?: readonly string[]
  /** Replaces the permissions. @defaultValue unchanged */
  readonly permissions?: readonly string[]
}

/** Makes, refreshes, ends and lists sessions. Only the auth app has one. */
export interface SessionAuthority extends AsyncDisposable {
  /**
   * Counts an attempt to sign in, before the password is looked at. Without `throttle` nothing is counted.
   *
   * @throws AuthError `ERR_AUTH_THROTTLED`, or `ERR_AUTH_UNAVAILABLE` while attempts cannot be counted
   */
  admitSignIn(attempt: SignInAttempt): Promise<AdmittedAttempt>
  /** Starts a session. The caller has verified the user. */
  signIn(user: SignIn): Promise<SessionTokens>
  /**
   * Exchanges a refresh token. Concurrent and repeated exchanges of one token give one successor, until that is first
   * seen and the grace after it is over: an answer that was lost, or a 503, can be repeated at any later time. A used
   * token that comes back after that ends the session; a forged one changes nothing.
   *
   * @throws AuthError `ERR_AUTH_REFRESH_*`, `ERR_AUTH_THROTTLED`, `ERR_AUTH_UNAVAILABLE`
   */
  refresh(refreshToken: string, options?: RefreshOptions): Promise<SessionTokens>
  /** As `refresh`, after the user has proved more. The former tokens get no part in it, not even within the grace window. */
  stepUp(refreshToken: string, proved: StepUp): Promise<SessionTokens>
  /** Ends the session that a refresh token belongs to; for clients whose access token has expired. */
  signOut(refreshToken: string): Promise<void>
  /** Ends a session everywhere, at once. True when it was active. */
  revoke(session: SessionRef, reason?: string): Promise<boolean>
  /** Ends all sessions of a user. Resolves to their ids. */
  revokeAll(user: UserRef, reason?: string): Promise<readonly string[]>
  /** Ends all sessions of a user but this one. */
  revokeOthers(session: SessionRef, reason?: string): Promise<readonly string[]>
  /** The active sessions of a user, newest first. */
  list(user: UserRef): Promise<readonly Session[]>
  /**
   * Tells Redis again of what the store has revoked lately; at start, after a crash. Resolves to how many.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when Redis did not take all of it; the rest is repeated until it does
   */
  reconcile(): Promise<number>
  /** Ends the background work. Leaves Redis and the store to their owners. */
  close(): Promise<void>
}

const refusals: Readonly<Record<Exclude<RotationResult['outcome'], 'OK' | 'GRACE'>, AuthErrorCode>> = {
  MISSING: 'ERR_AUTH_REFRESH_EXPIRED',
  REVOKED: 'ERR_AUTH_REFRESH_REVOKED',
  EXPIRED: 'ERR_AUTH_REFRESH_EXPIRED',
  BAD: 'ERR_AUTH_REFRESH_INVALID',
  REUSED: 'ERR_AUTH_REFRESH_REUSED',
  SUPERSEDED: 'ERR_AUTH_REFRESH_SUPERSEDED',
  FUTURE: 'ERR_AUTH_REFRESH_INVALID',
}

const signInKeys = ['userId', 'tenantId', 'roles', 'permissions', 'amr', 'aal', 'device', 'jkt']
/** In bytes of JSON. With all else in it a token stays below what verifiers look at. */
const maxListsSize = 4_096
const maxDeviceText = 256
const jktPattern = /^[A-Za-z0-9_-]{43}$/

/**
 * Makes the authority over sessions.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function createSessionAuthority(options: SessionAuthorityOptions): SessionAuthority {
  return new Authority(options, resolveAuthorityOptions(options))
}

class Authority implements SessionAuthority {
  readonly #options: SessionAuthorityOptions
  readonly #settings: ResolvedAuthorityOptions
  readonly #clock: Clock
  readonly #codec: RefreshTokenCodec
  readonly #bindingKey: KeyObject
  readonly #registry: SessionRegistry
  readonly #projector: Projector
  readonly #throttle: Throttle | undefined
  readonly #devices: DeviceTokens
  readonly #pruning: NodeJS.Timeout | undefined
  readonly #audit: (event: AuthEvent) => void

  constructor(options: SessionAuthorityOptions, settings: ResolvedAuthorityOptions) {
    const path = 'createSessionAuthority'
    this.#options = options
    this.#settings = settings
    options.keys.retainAtLeast(settings.tombstoneTtl)
    this.#clock = options.clock ?? systemClock
    this.#codec = new RefreshTokenCodec(options.secrets, `${path}.secrets`)
    this.#devices = new DeviceTokens(
      [options.secrets, ...(options.secrets.previous ?? [])].map(({ refreshMac }) =>
        secretKey(refreshMac, `${path}.secrets.refreshMac`),
      ),
    )
    this.#bindingKey = secretKey(options.secrets.cnf, `${path}.secrets.cnf`)
    this.#audit = createAudit(options.audit, settings.logger, () => this.#clock.now())
    const redis = new BoundedRedis(options.redis, options.commandTimeout ?? 400, `${path}.redis`)
    assertSendsOnce(options.redis, `${path}.redis`)
    this.#registry = new SessionRegistry(redis, settings.tombstoneTtl, options.clock)
    const lookup = (ref: SessionRef): ReturnType<NonNullable<typeof options.store>['find']> =>
      options.store?.find(ref) ?? Promise.resolve(undefined)
    const warmer = new SessionWarmer(this.#registry, lookup, (ref) =>
      this.#audit({ type: 'session.warmed', ...onlyRef(ref) }),
    )
    this.#projector = new Projector(this.#registry, warmer, settings.logger)
    this.#throttle = options.throttle === undefined ? undefined : new Throttle(options.throttle, this.#audit)
    this.#pruning = this.#startPruning()
  }

  async admitSignIn(attempt: SignInAttempt): Promise<AdmittedAttempt> {
    refuseUnknownKeys(attempt, ['account', 'address', 'deviceToken'], 'admitSignIn')
    if (typeof attempt.account !== 'string') throw new TypeError('admitSignIn.account: is no text.')
    const account = normalizeAccount(attempt.account)
    const address = attempt.address ? normalizeAddress(attempt.address, 'admitSignIn.address') : undefined
    const device = this.#devices.idOf(attempt.deviceToken, account)
    const reset = await this.#throttle?.signIn(account, address, device)
    return {
      succeeded: async () => {
        await reset?.()
        return device === undefined ? this.#devices.issue(account) : (attempt.deviceToken as string)
      },
    }
  }

  async signIn(user: SignIn): Promise<SessionTokens> {
    checkSignIn(user)
    const ref = {
      tenantId: user.tenantId,
      userId: user.userId,
      sessionId: randomBytes(16).toString('base64url'),
    }
    const token = this.#codec.first(ref)
    const session: NewSession = {
      ...ref,
      generation: 1,
      refreshId: token.refreshId,
      refreshHash: hashSecret(token.secret),
      previousId: null,
      previousHash: null,
      graceAllowed: true,
      aal: user.aal ?? 1,
      amr: user.amr ?? [],
      roles: user.roles ?? [],
      permissions: user.permissions ?? [],
      device: toDevice(user.device ?? {}),
      jkt: user.jkt ?? null,
    }
    const { record, ended } = await this.#create(session)
    this.#audit({ type: 'session.created', ...ref, aal: record.aal, amr: record.amr })
    for (const sessionId of ended) {
      this.#audit({ type: 'session.revoked', ...ref, sessionId, reason: 'too-many-sessions' })
    }
    return await this.#issue(record, token)
  }

  async refresh(refreshToken: string, options: RefreshOptions = {}): Promise<SessionTokens> {
    refuseUnknownKeys(options, ['jkt'], 'refresh')
    const token = this.#read(refreshToken)
    await this.#throttle?.refresh(token.sessionId)
    const rights = await this.#rights(token)
    return await this.#rotate(token, options.jkt ?? null, rights, true)
  }

  async stepUp(refreshToken: string, proved: StepUp): Promise<SessionTokens> {
    refuseUnknownKeys(proved, ['aal', 'amr', 'roles', 'permissions', 'jkt'], 'stepUp')
    checkLevel(proved.aal, 'stepUp.aal')
    checkLists(proved, 'stepUp')
    const token = this.#read(refreshToken)
    await this.#throttle?.refresh(token.sessionId)
    const rights = await this.#rights(token)
    const { aal, amr, roles, permissions } = proved
    const change: SessionChange = {
      ...rights,
      ...(roles === undefined ? {} : { roles }),
      ...(permissions === undefined ? {} : { permissions }),
      aal,
      amr: [...new Set([...(await this.#methodsOf(token)), ...amr])],
      authenticatedNow: true,
    }
    const tokens = await this.#rotate(token, proved.jkt ?? null, change, false)
    this.#audit({ type: 'session.stepped-up', ...onlyRef(token), aal, amr: tokens.session.amr })
    return tokens
  }

  async signOut(refreshToken: string): Promise<void> {
    await this.revoke(this.#read(refreshToken))
  }

  async revoke(session: SessionRef, reason = 'signed-out'): Promise<boolean> {
    const ref = checkRef(session, 'revoke')
    const { store } = this.#options
    const was = await (store === undefined
      ? this.#registry.revoke(ref, reason)
      : this.#stored(() => store.revoke(ref, reason)))
    if (was) this.#audit({ type: 'session.revoked', ...ref, reason })
    if (store !== undefined) await this.#projector.revoked(ref, reason)
    return was
  }

  async revokeAll(user: UserRef, reason = 'signed-out-everywhere'): Promise<readonly string[]> {
    return await this.#revokeMany(user, reason, undefined)
  }

  async revokeOthers(session: SessionRef, reason = 'signed-out-everywhere'): Promise<readonly string[]> {
    return await this.#revokeMany(checkRef(session, 'revokeOthers'), reason, session.sessionId)
  }

  async list(user: UserRef): Promise<readonly Session[]> {
    checkUser(user, 'list')
    const { store } = this.#options
    const refs: readonly SessionRef[] = store
      ? await this.#stored(() => store.list(user))
      : (await this.#registry.sessionIds(user)).map((sessionId) => ({ ...onlyUser(user), sessionId }))
    const sessions: Session[] = []
    for (const ref of refs) {
      const { record, lastSeenAt } = await this.#registry.read(ref)
      const known = store ? (ref as SessionRecord) : record
      if (known !== undefined) sessions.push(toSession(known, lastSeenAt))
    }
    return sessions.toSorted((a, b) => b.createdAt - a.createdAt)
  }

  async reconcile(): Promise<number> {
    const { store } = this.#options
    if (store === undefined) return 0
    const revoked = await this.#stored(() => store.recentlyRevoked(this.#settings.tombstoneTtl))
    let failure: { readonly error: unknown } | undefined
    for (const ref of revoked) {
      try {
        await this.#projector.revoked(ref, 'reconciled')
      } catch (error) {
        failure = { error }
      }
    }
    if (failure !== undefined) throw failure.error
    return revoked.length
  }

  async close(): Promise<void> {
    clearInterval(this.#pruning)
    await this.#projector.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Deletes from the store what ended long ago, once an hour. */
  #startPruning(): NodeJS.Timeout | undefined {
    const { store } = this.#options
    const { pruneAfter, pruneInterval, logger } = this.#settings
    if (store?.prune === undefined || pruneAfter === undefined) return undefined
    const prune = (): void => {
      Promise.try(() => store.prune?.(pruneAfter)).catch((error: unknown) => {
        logger.warn({ err: error }, 'ended sessions could not be pruned')
      })
    }
    return setInterval(prune, pruneInterval).unref()
  }

  async #create(session: NewSession): Promise<{ record: SessionRecord; ended: readonly string[] }> {
    const { store } = this.#options
    if (store === undefined) return await this.#registry.create(session, this.#settings)
    const ref = onlyRef(session)
    // The claim stands before the row does, so that whatever ends the session in between is seen by the fill.
    const nonce = randomBytes(9).toString('base64url')
    await this.#registry.claim(ref, nonce, 10_000)
    const made = await this.#stored(() => store.create(session, this.#settings))
    try {
      for (const sessionId of made.ended)
        await this.#projector.revoked({ ...ref, sessionId }, 'too-many-sessions')
      const filled = await this.#registry.fill(ref, nonce, made)
      if (filled === 'LOST') await this.#projector.rotated(made.record)
      if (filled === 'REVOKED') throw new AuthError('ERR_AUTH_SESSION_REVOKED')
    } catch (error) {
      // Its tokens reach no client; left active, each attempt would evict another session of the user.
      await store.revoke(ref, 'abandoned').catch(() => undefined)
      throw error
    }
    return made
  }

  async #rotate(
    token: RefreshToken,
    jkt: string | null,
    change: SessionChange,
    graceAllowed: boolean,
  ): Promise<SessionTokens> {
    const next = this.#codec.successor(token, newRefreshId())
    const rotation = {
      ...onlyRef(token),
      generation: token.generation,
      refreshId: token.refreshId,
      refreshHash: hashSecret(token.secret),
      nextRefreshId: next.refreshId,
      nextRefreshHash: hashSecret(next.secret),
      grace: this.#settings.grace,
      idle: this.#settings.idle,
      graceAllowed,
      jkt,
      change,
    }
    const { store } = this.#options
    let result: RotationResult
    if (store === undefined) {
      result = await this.#registry.rotate(rotation)
    } else {
      // With Redis away nothing is changed: a client that got no answer must be able to come again.
      const firstSeen = await this.#projector.prepare(rotation)
      const noted = firstSeen === undefined ? rotation : { ...rotation, firstSeen }
      result = await this.#stored(() => store.rotate(noted))
    }
    if (result.outcome !== 'OK' && result.outcome !== 'GRACE')
      return await this.#refused(token, result.outcome)
    const { record } = result
    // A repeated step-up has the successor of the first; after a plain refresh there is nothing to be had.
    if (!graceAllowed && result.outcome === 'GRACE' && !covers(record, change))
      throw new AuthError('ERR_AUTH_REFRESH_SUPERSEDED')
    const successor = this.#codec
      .successors(token, record.refreshId)
      .find(({ secret }) => hashSecret(secret) === record.refreshHash)
    // Only when the secret that derives successors was changed, and is not among the previous ones.
    if (successor === undefined) throw new AuthError('ERR_AUTH_REFRESH_SUPERSEDED')
    if (store !== undefined && (await this.#projector.rotated(record)) === 'REVOKED') {
      throw new AuthError('ERR_AUTH_REFRESH_REVOKED')
    }
    this.#audit({
      type: 'session.refreshed',
      ...onlyRef(token),
      generation: record.generation,
      grace: result.outcome === 'GRACE',
    })
    return await this.#issue(record, successor)
  }

  async #refused(token: RefreshToken, outcome: keyof typeof refusals): Promise<never> {
    const ref = onlyRef(token)
    if (outcome === 'REUSED') {
      this.#audit({ type: 'session.refresh-reused', ...ref, generation: token.generation })
      this.#audit({ type: 'session.revoked', ...ref, reason: 'reused' })
      if (this.#options.store !== undefined) await this.#projector.revoked(ref, 'reused')
    } else {
      this.#audit({ type: 'refresh.refused', reason: outcome.toLowerCase(), sessionId: ref.sessionId })
    }
    throw new AuthError(refusals[outcome], { cause: new Refusal(`The rotation ended with ${outcome}.`) })
  }

  async #revokeMany(user: UserRef, reason: string, kept: string | undefined): Promise<readonly string[]> {
    checkUser(user, 'revokeAll')
    const { store } = this.#options
    const options = { ttl: this.#settings.absolute, ...(kept === undefined ? {} : { kept }) }
    const done = await (store === undefined
      ? this.#registry.revokeAll(user, reason, options).then((ended) => ({ ended }))
      : this.#stored(() => store.revokeAll(user, reason, kept)))
    this.#audit({ type: 'user.sessions-revoked', ...onlyUser(user), reason, sessionIds: done.ended })
    if (store !== undefined) await this.#projector.revokedAll(user, reason, { ...done, ...options })
    return done.ended
  }

  /** What the user may do now; ends the session of a user who is gone. */
  async #rights(token: RefreshToken): Promise<SessionChange> {
    if (this.#options.loadUser === undefined) return {}
    const ref = onlyRef(token)
    const { loadUser } = this.#options
    const rights = await this.#stored(() => loadUser(ref))
    if (rights === null) {
      await this.revoke(ref, 'user-gone')
      throw new AuthError('ERR_AUTH_REFRESH_REVOKED')
    }
    const { roles, permissions = [] } = rights
    checkLists({ roles, permissions }, 'loadUser')
    return { roles, permissions }
  }

  async #methodsOf(ref: SessionRef): Promise<readonly string[]> {
    const { store } = this.#options
    if (store !== undefined) return (await this.#stored(() => store.find(ref)))?.record.amr ?? []
    return (await this.#registry.read(ref)).record?.amr ?? []
  }

  #read(refreshToken: string): RefreshToken {
    try {
      return this.#codec.parse(refreshToken)
    } catch (error) {
      this.#audit({ type: 'refresh.refused', reason: 'not-ours' })
      throw new AuthError('ERR_AUTH_REFRESH_INVALID', { cause: error })
    }
  }

  /** What the store or the user's rights fail with is an outage to the caller. */
  async #stored<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      if (isQuintetError(error)) throw error
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: error })
    }
  }

  async #issue(record: SessionRecord, token: RefreshToken): Promise<SessionTokens> {
    const now = this.#clock.now()
    const expiresAt = Math.min(now + this.#settings.accessTtl, record.absoluteExpiresAt)
    const { issuer, audience } = this.#options
    const fp = fingerprint(this.#bindingKey, record.tenantId, record.sessionId, record.refreshId)
    const accessToken = await signAccessToken(
      {
        iss: issuer,
        aud: audience,
        sub: record.userId,
        sid: record.sessionId,
        tid: record.tenantId,
        client_id: this.#settings.clientId,
        roles: record.roles,
        permissions: record.permissions,
        cnf: record.jkt === null ? { fp } : { fp, jkt: record.jkt },
        iat: Math.floor(now / 1_000),
        exp: Math.ceil(expiresAt / 1_000),
        amr: record.amr,
        aal: record.aal,
        auth_time: Math.floor(record.authenticatedAt / 1_000),
      },
      this.#options.keys.signer(),
    )
    return {
      accessToken,
      refreshToken: this.#codec.format(token),
      tokenType: record.jkt === null ? 'Bearer' : 'DPoP',
      expiresIn: Math.max(0, Math.floor((expiresAt - now) / 1_000)),
      session: toSession(record),
    }
  }
}

/** Whether a session whose answer may have got lost is the outcome of this very step-up. */
function covers(record: SessionRecord, { aal = 1, amr = [] }: SessionChange): boolean {
  return !record.graceAllowed && record.aal >= aal && amr.every((method) => record.amr.includes(method))
}

function checkSignIn(user: SignIn): void {
  refuseUnknownKeys(user, signInKeys, 'signIn')
  checkUser(user, 'signIn')
  checkLevel(user.aal ?? 1, 'signIn.aal')
  checkLists(user, 'signIn')
  if (user.jkt !== undefined && !jktPattern.test(user.jkt)) {
    throw new TypeError('signIn.jkt: is not a JWK thumbprint (SHA-256, base64url).')
  }
}

function checkLevel(aal: number, path: string): void {
  if (![1, 2, 3].includes(aal)) throw new TypeError(`${path}: ${JSON.stringify(aal)} must be 1, 2 or 3.`)
}

/** What is too much for a token is refused before anything has changed: nobody could use the session. */
function checkLists(lists: Pick<SignIn, 'roles' | 'permissions' | 'amr'>, path: string): void {
  let size = 0
  for (const name of ['roles', 'permissions', 'amr'] as const) {
    const list = lists[name] ?? []
    if (!Array.isArray(list) || !list.every((each) => typeof each === 'string')) {
      throw new TypeError(`${path}.${name}: give a list of texts.`)
    }
    size += Buffer.byteLength(JSON.stringify(list))
  }
  if (size > maxListsSize) {
    throw new TypeError(
      `${path}: roles, permissions and amr take ${size} bytes, more than the ${maxListsSize} that fit into an access token.`,
    )
  }
}

/** What a client says of itself can be long and strange; it is only shown. */
function toDevice(device: Device): Device {
  const known = ['name', 'userAgent', 'address'] as const
  refuseUnknownKeys(device, known, 'signIn.device')
  return Object.fromEntries(
    known.flatMap((name) => {
      const text = device[name]
      if (text === undefined) return []
      if (typeof text !== 'string') throw new TypeError(`signIn.device.${name}: is no text.`)
      return [
        [
          name,
          text
            .slice(0, maxDeviceText)
            .toWellFormed()
            .replace(/\p{Cc}/gu, ' '),
        ],
      ]
    }),
  )
}

function checkUser(user: UserRef, path: string): void {
  assertId(user.tenantId, `${path}.tenantId`)
  assertId(user.userId, `${path}.userId`)
}

function checkRef(ref: SessionRef, path: string): SessionRef {
  checkUser(ref, path)
  assertSessionId(ref.sessionId, `${path}.sessionId`)
  return onlyRef(ref)
}

function onlyUser({ tenantId, userId }: UserRef): UserRef {
  return { tenantId, userId }
}

function onlyRef({ tenantId, userId, sessionId }: SessionRef): SessionRef {
  return { tenantId, userId, sessionId }
}
