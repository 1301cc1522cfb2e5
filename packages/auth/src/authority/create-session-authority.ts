import { randomBytes } from 'node:crypto'
import { systemClock } from '@quintet/core/kit'
import { createAudit, type AuthEvent } from '../audit.ts'
import { AuthError, Refusal, type AuthErrorCode } from '../errors.ts'
import type { SessionRef, UserRef } from '../sessions/session-keys.ts'
import { toSession, type Session } from '../sessions/session-record.ts'
import { BoundedRedis } from '../sessions/session-redis.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import type {
  NewSession,
  RotationResult,
  SessionChange,
  SessionTransaction,
} from '../sessions/session-store.ts'
import { SessionWarmer } from '../sessions/session-warmer.ts'
import {
  assertSize,
  checkReason,
  checkRef,
  checkUser,
  onlyRef,
  onlyUser,
  readAttempt,
  readRefresh,
  readRevokeWithin,
  readRights,
  readSignIn,
  readStepUp,
} from './arguments.ts'
import {
  resolveAuthorityOptions,
  type ResolvedAuthorityOptions,
  type SessionAuthorityOptions,
} from './authority-options.ts'
import { RedisLedger } from './redis-ledger.ts'
import { hashSecret, newRefreshId, type RefreshToken } from './refresh-token.ts'
import type {
  PendingRevocation,
  RefreshOptions,
  RevokeWithinOptions,
  SessionAuthority,
  SessionTokens,
  SignIn,
  StepUp,
} from './session-authority.ts'
import type { SessionLedger } from './session-ledger.ts'
import { asOutage, StoredLedger } from './stored-ledger.ts'
import { Throttle, type AdmittedAttempt, type SignInAttempt } from './throttle.ts'
import { TokenIssuer } from './token-issuer.ts'

const refusals: Readonly<Record<Exclude<RotationResult['outcome'], 'OK' | 'GRACE'>, AuthErrorCode>> = {
  MISSING: 'ERR_AUTH_REFRESH_EXPIRED',
  REVOKED: 'ERR_AUTH_REFRESH_REVOKED',
  EXPIRED: 'ERR_AUTH_REFRESH_EXPIRED',
  BAD: 'ERR_AUTH_REFRESH_INVALID',
  REUSED: 'ERR_AUTH_REFRESH_REUSED',
  SUPERSEDED: 'ERR_AUTH_REFRESH_SUPERSEDED',
  FUTURE: 'ERR_AUTH_REFRESH_INVALID',
}

/**
 * Makes the authority over sessions.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const authority = createSessionAuthority({
 *   redis: redisClients.client('sessions'), keys: await createKeyRing(), secrets: deriveSecrets(config.rootSecret),
 *   issuer: 'https://auth.example.com', audience: ['media', 'ledger'],
 * })
 * const { accessToken, refreshToken } = await authority.signIn({ userId: 'alice', tenantId: 'acme' })
 */
export function createSessionAuthority(options: SessionAuthorityOptions): SessionAuthority {
  return new Authority(resolveAuthorityOptions(options))
}

class Authority implements SessionAuthority {
  readonly #options: ResolvedAuthorityOptions
  readonly #ledger: SessionLedger
  readonly #issuer: TokenIssuer
  readonly #throttle: Throttle | undefined
  readonly #audit: (event: AuthEvent) => void

  constructor(options: ResolvedAuthorityOptions) {
    const { keys, secrets, throttle, tombstoneTtl } = options
    const clock = options.clock ?? systemClock
    keys.retainAtLeast(tombstoneTtl)
    this.#options = options
    this.#audit = createAudit(options.audit, options.logger, () => clock.now())
    this.#ledger = openLedger(options, this.#audit)
    this.#issuer = new TokenIssuer({ ...options, clock, codec: secrets.codec, bindingKey: secrets.binding })
    this.#throttle = throttle === undefined ? undefined : new Throttle(throttle, this.#audit)
  }

  async admitSignIn(attempt: SignInAttempt): Promise<AdmittedAttempt> {
    const { account, address, deviceToken } = readAttempt(attempt)
    const { devices } = this.#options.secrets
    const device = devices.idOf(deviceToken, account)
    const reset = await this.#throttle?.signIn(account, address, device)
    return {
      succeeded: async () => {
        await reset?.()
        return device === undefined ? devices.issue(account) : (deviceToken as string)
      },
    }
  }

  async epochOf(user: UserRef): Promise<number> {
    checkUser(user, 'epochOf')
    return await this.#ledger.epochOf(onlyUser(user))
  }

  async signIn(given: SignIn): Promise<SessionTokens> {
    const user = readSignIn(given)
    const ref = { ...onlyUser(user), sessionId: randomBytes(16).toString('base64url') }
    const token = this.#options.secrets.codec.first(ref)
    const record = await this.#ledger.create(newSession(ref, user, token), (sessionId) =>
      this.#audit({ type: 'session.revoked', ...ref, sessionId, reason: 'too-many-sessions' }),
    )
    this.#audit({ type: 'session.created', ...ref, aal: record.aal, amr: record.amr })
    return await this.#issuer.issue(record, token, user.clientId)
  }

  async refresh(refreshToken: string, options: RefreshOptions = {}): Promise<SessionTokens> {
    const { jkt = null } = readRefresh(options)
    const token = this.#read(refreshToken)
    await this.#throttle?.refresh(token.sessionId)
    const rights = await this.#rights(token)
    return await this.#rotate(token, jkt, rights, true)
  }

  async stepUp(refreshToken: string, proved: StepUp): Promise<SessionTokens> {
    const { aal, amr, roles, permissions, jkt = null, sessionId } = readStepUp(proved)
    const token = this.#read(refreshToken)
    if (sessionId !== undefined && sessionId !== token.sessionId)
      throw new AuthError('ERR_AUTH_REFRESH_INVALID', { cause: new Refusal('It is of another session.') })
    await this.#throttle?.refresh(token.sessionId)
    const rights = await this.#rights(token)
    const before = await this.#ledger.find(token)
    const change = {
      ...rights,
      ...(roles === undefined ? {} : { roles }),
      ...(permissions === undefined ? {} : { permissions }),
      aal,
      amr: [...new Set([...(before?.amr ?? []), ...amr])],
      authenticatedNow: true,
    } satisfies SessionChange
    assertSize({ roles: before?.roles, permissions: before?.permissions, ...change }, 'stepUp')
    const tokens = await this.#rotate(token, jkt, change, false)
    this.#audit({ type: 'session.stepped-up', ...onlyRef(token), aal, amr: tokens.session.amr })
    return tokens
  }

  async signOut(refreshToken: string): Promise<void> {
    await this.revoke(this.#read(refreshToken))
  }

  async revoke(session: SessionRef, reason = 'signed-out'): Promise<boolean> {
    const ref = checkRef(session, 'revoke')
    checkReason(reason, 'revoke.reason')
    const wasActive = await this.#ledger.revoke(ref, reason)
    if (wasActive) this.#audit({ type: 'session.revoked', ...ref, reason })
    await this.#ledger.tellRevoked(ref, reason)
    return wasActive
  }

  async revokeAll(user: UserRef, reason = 'signed-out-everywhere'): Promise<readonly string[]> {
    return await this.#revokeMany(user, reason, undefined, 'revokeAll')
  }

  async revokeWithin(
    transaction: SessionTransaction,
    users: UserRef | readonly UserRef[],
    options: RevokeWithinOptions = {},
  ): Promise<PendingRevocation> {
    const { reason, kept } = readRevokeWithin(options)
    const list = Array.isArray(users) ? (users as readonly UserRef[]) : [users as UserRef]
    for (const user of list) checkUser(user, 'revokeWithin')
    const pending = await this.#ledger.revokeWithin(transaction, list.map(onlyUser), reason, kept)
    return {
      ended: pending.users.flatMap(({ ended }) => ended),
      announce: async () => {
        for (const { ended, ...user } of pending.users)
          this.#audit({ type: 'user.sessions-revoked', ...onlyUser(user), reason, sessionIds: ended })
        return await pending.announce()
      },
    }
  }

  async erase(user: UserRef): Promise<void> {
    await this.revokeAll(user, 'erased')
    await this.#ledger.erase(onlyUser(user))
  }

  async revokeOthers(session: SessionRef, reason = 'signed-out-everywhere'): Promise<readonly string[]> {
    const ref = checkRef(session, 'revokeOthers')
    return await this.#revokeMany(ref, reason, ref.sessionId, 'revokeOthers')
  }

  async list(user: UserRef): Promise<readonly Session[]> {
    checkUser(user, 'list')
    const sessions = await this.#ledger.list(user)
    return sessions
      .map(({ record, lastSeenAt }) => toSession(record, lastSeenAt))
      .toSorted((a, b) => b.createdAt - a.createdAt)
  }

  async reconcile(): Promise<number> {
    return await this.#ledger.reconcile()
  }

  async close(): Promise<void> {
    await this.#ledger[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #rotate(
    token: RefreshToken,
    jkt: string | null,
    change: SessionChange,
    graceAllowed: boolean,
  ): Promise<SessionTokens> {
    const { secrets, grace, idle } = this.#options
    const next = secrets.codec.successor(token, newRefreshId())
    const result = await this.#ledger.rotate({
      ...onlyRef(token),
      generation: token.generation,
      refreshId: token.refreshId,
      refreshHash: hashSecret(token.secret),
      nextRefreshId: next.refreshId,
      nextRefreshHash: hashSecret(next.secret),
      grace,
      idle,
      graceAllowed,
      jkt,
      change,
    })
    if (result.outcome !== 'OK' && result.outcome !== 'GRACE')
      return await this.#refused(token, result.outcome)
    const { record } = result
    const successor = secrets.codec
      .successors(token, record.refreshId)
      .find(({ secret }) => hashSecret(secret) === record.refreshHash)
    // Only when the secret that derives successors was changed, and is not among the previous ones.
    if (successor === undefined) throw new AuthError('ERR_AUTH_REFRESH_SUPERSEDED')
    this.#audit({
      type: 'session.refreshed',
      ...onlyRef(token),
      generation: record.generation,
      grace: result.outcome === 'GRACE',
    })
    return await this.#issuer.issue(record, successor)
  }

  async #refused(token: RefreshToken, outcome: keyof typeof refusals): Promise<never> {
    const ref = onlyRef(token)
    if (outcome === 'REUSED') {
      this.#audit({ type: 'session.refresh-reused', ...ref, generation: token.generation })
      this.#audit({ type: 'session.revoked', ...ref, reason: 'reused' })
      await this.#ledger.tellRevoked(ref, 'reused')
    } else {
      this.#audit({ type: 'refresh.refused', reason: outcome.toLowerCase(), sessionId: ref.sessionId })
    }
    throw new AuthError(refusals[outcome], { cause: new Refusal(`The rotation ended with ${outcome}.`) })
  }

  async #revokeMany(
    user: UserRef,
    reason: string,
    kept: string | undefined,
    path: string,
  ): Promise<readonly string[]> {
    checkUser(user, path)
    checkReason(reason, `${path}.reason`)
    const done = await this.#ledger.revokeAll(user, reason, kept)
    this.#audit({ type: 'user.sessions-revoked', ...onlyUser(user), reason, sessionIds: done.ended })
    await this.#ledger.tellRevokedAll(user, reason, kept, done)
    return done.ended
  }

  /** What the user may do now; ends the session of a user who is gone. */
  async #rights(token: RefreshToken): Promise<SessionChange> {
    const { loadUser } = this.#options
    if (loadUser === undefined) return {}
    const ref = onlyRef(token)
    const rights = await asOutage(() => loadUser(ref))
    if (rights === null) {
      await this.revoke(ref, 'user-gone')
      throw new AuthError('ERR_AUTH_REFRESH_REVOKED')
    }
    if (typeof rights !== 'object')
      throw new TypeError('loadUser: give { roles } with a list of texts, or null for a user who is gone.')
    return readRights(rights)
  }

  #read(refreshToken: string): RefreshToken {
    try {
      return this.#options.secrets.codec.parse(refreshToken)
    } catch (error) {
      this.#audit({ type: 'refresh.refused', reason: 'not-ours' })
      throw new AuthError('ERR_AUTH_REFRESH_INVALID', { cause: error })
    }
  }
}

function openLedger(options: ResolvedAuthorityOptions, audit: (event: AuthEvent) => void): SessionLedger {
  const { redis, store, commandTimeout, tombstoneTtl, clock } = options
  const registry = new SessionRegistry(new BoundedRedis(redis, commandTimeout), tombstoneTtl, clock)
  if (store === undefined) return new RedisLedger(registry, options, options.logger)
  const warmer = new SessionWarmer(
    registry,
    (ref) => store.find(ref),
    (ref) => audit({ type: 'session.warmed', ...onlyRef(ref) }),
  )
  const pruneAfter = options.pruneAfter === false ? undefined : options.pruneAfter
  return new StoredLedger({ ...options, store, registry, warmer, limits: options, pruneAfter })
}

function newSession(ref: SessionRef, user: ReturnType<typeof readSignIn>, token: RefreshToken): NewSession {
  const { aal, amr, roles, permissions, device, jkt = null, epoch: readEpoch = null } = user
  return {
    ...ref,
    generation: 1,
    refreshId: token.refreshId,
    refreshHash: hashSecret(token.secret),
    previousId: null,
    previousHash: null,
    graceAllowed: true,
    ...{ aal, amr, roles, permissions, device, jkt, readEpoch },
    knownEpoch: 0,
  }
}
