import { randomBytes } from 'node:crypto'
import { isQuintetError, type Logger } from '@quintet/core'
import { AuthError } from '../errors.ts'
import { indexKey, sessionKey, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type {
  NewSession,
  Rotation,
  RotationResult,
  SessionLimits,
  SessionStore,
  SessionTransaction,
} from '../sessions/session-store.ts'
import type { SessionWarmer } from '../sessions/session-warmer.ts'
import { onlyRef } from './arguments.ts'
import { Backlog } from './backlog.ts'
import { Projector } from './projector.ts'
import type { EndedSessions, ListedSession, SessionLedger } from './session-ledger.ts'

/** How long the claim of a session that is being made stands in Redis, in milliseconds. */
const claimTtl = 10_000
/** How often the store is pruned, in milliseconds. */
const pruneInterval = 3_600_000

export interface StoredLedgerOptions {
  readonly store: SessionStore
  readonly registry: SessionRegistry
  readonly warmer: SessionWarmer
  readonly limits: SessionLimits
  /** How long a tombstone stays in Redis, in milliseconds. */
  readonly tombstoneTtl: number
  /** How long after its end a session is deleted from the store, in milliseconds; undefined for never. */
  readonly pruneAfter: number | undefined
  readonly logger: Logger
}

/** Sessions that a store keeps. It decides, and Redis is brought after it. */
export class StoredLedger implements SessionLedger {
  readonly #store: SessionStore
  readonly #registry: SessionRegistry
  /** What only Redis must be told: no wait for the store holds it up. */
  readonly #untold: Backlog
  /** What the store must be asked first. */
  readonly #unknown: Backlog
  readonly #projector: Projector
  readonly #limits: SessionLimits
  readonly #tombstoneTtl: number
  readonly #pruning: NodeJS.Timeout | undefined

  constructor({ store, registry, warmer, limits, tombstoneTtl, pruneAfter, logger }: StoredLedgerOptions) {
    this.#store = store
    this.#registry = registry
    this.#limits = limits
    this.#tombstoneTtl = tombstoneTtl
    this.#untold = new Backlog(logger)
    this.#unknown = new Backlog(logger)
    this.#projector = new Projector(registry, warmer, this.#untold)
    this.#pruning = startPruning(store, pruneAfter, logger)
  }

  async create(session: NewSession, onEvicted: (sessionId: string) => void): Promise<SessionRecord> {
    const ref = onlyRef(session)
    // The claim stands before the row does, so that whatever ends the session in between is seen by the fill.
    const nonce = randomBytes(9).toString('base64url')
    const { epoch: knownEpoch } = await this.#registry.claim(ref, nonce, claimTtl)
    try {
      const made = await asOutage(() => this.#store.create({ ...session, knownEpoch }, this.#limits))
      if (made === undefined) throw new AuthError('ERR_AUTH_SIGN_IN_OUTDATED')
      made.ended.forEach(onEvicted)
      for (const sessionId of made.ended)
        await this.#projector.revoked({ ...ref, sessionId }, 'too-many-sessions')
      const filled = await this.#registry.fill(ref, nonce, made)
      if (filled === 'LOST') await this.#projector.rotated(made.record)
      if (filled === 'REVOKED') throw new AuthError('ERR_AUTH_SESSION_REVOKED')
      return made.record
    } catch (error) {
      this.#abandon(ref, error)
      throw error
    }
  }

  async rotate(rotation: Rotation): Promise<RotationResult> {
    // With Redis away nothing is changed: a client that got no answer must be able to come again.
    const firstSeen = await this.#projector.prepare(rotation)
    const noted = firstSeen === undefined ? rotation : { ...rotation, firstSeen }
    const result = await asOutage(() => this.#store.rotate(noted))
    // Redis may have missed it: the store has just been asked, and knows better.
    if (result.outcome === 'REVOKED')
      await this.#projector.revoked(rotation, 'revoked').catch(() => undefined)
    if (result.outcome !== 'OK' && result.outcome !== 'GRACE') return result
    return (await this.#projector.rotated(result.record)) === 'REVOKED' ? { outcome: 'REVOKED' } : result
  }

  revoke(ref: SessionRef, reason: string): Promise<boolean> {
    return this.#settled(ref, () => this.#store.revoke(ref, reason))
  }

  revokeAll(user: UserRef, reason: string, kept: string | undefined): Promise<EndedSessions> {
    return this.#settled(user, () => this.#store.revokeAll(user, reason, kept))
  }

  async revokeWithin(
    transaction: SessionTransaction,
    users: readonly UserRef[],
    reason: string,
    kept: string | undefined,
  ): ReturnType<SessionLedger['revokeWithin']> {
    const revoked = await this.#store.revokeWithin(transaction, users, reason, kept)
    // Of a transaction whose outcome its owner does not know, or does not tell of, the store is asked.
    const key = `within ${randomBytes(9).toString('base64url')}`
    this.#unknown.expect(key, async () => {
      for (const user of users) await this.#tellOfRevoked(user)
    })
    const announce = async (): Promise<boolean> => {
      this.#unknown.drop(key)
      const told = await Promise.allSettled(
        revoked.map((each) => this.tellRevokedAll(each, reason, kept, each)),
      )
      return told.every(({ status }) => status === 'fulfilled')
    }
    return { users: revoked, announce }
  }

  /** The higher one: each may have lost an end of all sessions that the other has. */
  async epochOf(user: UserRef): Promise<number> {
    const [kept, known] = await Promise.all([
      asOutage(() => this.#store.epochOf(user)),
      this.#registry.epochOf(user),
    ])
    return Math.max(kept, known)
  }

  erase(user: UserRef): Promise<void> {
    return asOutage(() => this.#store.erase(user))
  }

  tellRevoked(ref: SessionRef, reason: string): Promise<void> {
    return this.#projector.revoked(ref, reason)
  }

  tellRevokedAll(
    user: UserRef,
    reason: string,
    kept: string | undefined,
    done: EndedSessions,
  ): Promise<void> {
    const { ended, epoch } = done
    const options = {
      ended,
      ...(epoch !== undefined && { epoch }),
      ttl: this.#limits.absolute,
      ...(kept === undefined ? {} : { kept }),
    }
    return this.#projector.revokedAll(user, reason, options)
  }

  async find(ref: SessionRef): Promise<SessionRecord | undefined> {
    return (await asOutage(() => this.#store.find(ref)))?.record
  }

  async list(user: UserRef): Promise<readonly ListedSession[]> {
    const records = await asOutage(() => this.#store.list(user))
    return Promise.all(
      records.map(async (record) => ({ record, lastSeenAt: (await this.#registry.read(record)).lastSeenAt })),
    )
  }

  reconcile(): Promise<number> {
    return this.#tellOfRevoked()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pruning)
    await Promise.all([this.#untold.close(), this.#unknown.close()])
  }

  /**
   * Ends a session whose tokens reach no client: left active, each attempt would evict another session of the user. What
   * the store may have evicted for it is told to Redis.
   */
  #abandon(ref: SessionRef, error: unknown): void {
    const end = async (): Promise<void> => {
      await this.#store.revoke(ref, 'abandoned')
      await this.#tellOfRevoked(ref)
    }
    this.#unknown.later(`abandoned ${sessionKey(ref)}`, end, error)
  }

  /** A revocation by the store. One that fails may have happened all the same: what came of it is told to Redis later. */
  async #settled<T>(user: UserRef, step: () => Promise<T>): Promise<T> {
    try {
      return await asOutage(step)
    } catch (error) {
      this.#unknown.later(`unknown ${indexKey(user)}`, () => this.#tellOfRevoked(user), error)
      throw error
    }
  }

  /** Tells Redis of what the store has revoked lately, of one user or of all. */
  async #tellOfRevoked(user?: UserRef): Promise<number> {
    const revoked = await asOutage(() => this.#store.recentlyRevoked(this.#tombstoneTtl, user))
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
}

/** What a store, or another source of the app, fails with is an outage to the caller. */
export async function asOutage<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (isQuintetError(error)) throw error
    throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: error })
  }
}

/** Deletes from the store what ended long ago, once an hour. */
function startPruning(
  store: SessionStore,
  pruneAfter: number | undefined,
  logger: Logger,
): NodeJS.Timeout | undefined {
  if (store.prune === undefined || pruneAfter === undefined) return undefined
  const prune = (): void => {
    Promise.try(() => store.prune?.(pruneAfter)).catch((error: unknown) => {
      logger.warn({ err: error }, 'ended sessions could not be pruned')
    })
  }
  return setInterval(prune, pruneInterval).unref()
}
