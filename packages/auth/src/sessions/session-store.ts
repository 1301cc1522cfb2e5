import type { SessionRecord } from './session-record.ts'
import type { SessionRef, UserRef } from './session-keys.ts'

/** A refresh as it is asked for. Times in milliseconds. */
export interface Rotation extends SessionRef {
  readonly generation: number
  readonly refreshId: string
  readonly refreshHash: string
  readonly nextRefreshId: string
  readonly nextRefreshHash: string
  /** How long the former token may come back once its successor has been seen. */
  readonly grace: number
  /** The generation that was seen last; without it none was. The store compares its refresh id with the session's. */
  readonly firstSeen?: FirstSeen
  readonly idle: number
  /** Whether this refresh token may come back within the grace window and get the same successor. */
  readonly graceAllowed: boolean
  /** The thumbprint of the key that the client has proved to hold; null when it proved none. */
  readonly jkt: string | null
  /** What changes beside the token. */
  readonly change: SessionChange
}

/** Since when tokens of one generation of a session have been in use. */
export interface FirstSeen {
  readonly refreshId: string
  /** How long ago a verifier saw the first one, in milliseconds: the clocks of Redis and of the store may differ. */
  readonly age: number
}

/** What a refresh may change about a session. */
export interface SessionChange {
  readonly aal?: number
  readonly amr?: readonly string[]
  readonly roles?: readonly string[]
  readonly permissions?: readonly string[]
  /** The user has just proved who they are. */
  readonly authenticatedNow?: boolean
}

/** What became of a refresh. */
export type RotationResult =
  | { readonly outcome: 'OK' | 'GRACE'; readonly record: SessionRecord }
  | { readonly outcome: 'MISSING' | 'REVOKED' | 'EXPIRED' | 'BAD' | 'REUSED' | 'SUPERSEDED' | 'FUTURE' }

/** A session that is about to be made. The store adds the times and the epoch. */
export type NewSession = Omit<
  SessionRecord,
  | 'state'
  | 'reason'
  | 'rotatedAt'
  | 'createdAt'
  | 'authenticatedAt'
  | 'expiresAt'
  | 'absoluteExpiresAt'
  | 'epoch'
> & {
  /** The user's epoch when their credentials were read: after it was raised no session is made. Null for any. */
  readonly readEpoch: number | null
  /**
   * The user's epoch that Redis knows. A store that has a lower one has lost the end of all sessions since, e.g. in a
   * failover to a replica that was behind: it raises its own to this one before it compares.
   */
  readonly knownEpoch: number
}

/** The end of all sessions of one user. */
export interface UserRevocation extends UserRef {
  readonly ended: readonly string[]
  /** The user's epoch from now on. */
  readonly epoch: number
}

/** A transaction of the app's, in the database of the store: a `pg` client that has begun one, or Kysely's. */
export type SessionTransaction =
  | { query(text: string, values: unknown[]): Promise<{ readonly rows: unknown[] }> }
  | KyselyTransaction

interface KyselyTransaction {
  executeQuery(query: never): Promise<{ readonly rows: unknown[] }>
  withoutPlugins?(): KyselyTransaction
}

export interface SessionLimits {
  readonly idle: number
  readonly absolute: number
  readonly maxSessionsPerUser: number
}

/** What a lookup finds: the session, and the user's epoch at the same moment. */
export interface StoredSession {
  readonly record: SessionRecord
  readonly userEpoch: number
}

/**
 * Where sessions live for good, e.g. PostgreSQL. It is the point of truth: a session is refreshed or revoked when
 * the store has committed it, and Redis is brought after it.
 */
export interface SessionStore {
  /** Compares the epoch and makes the session in one step; undefined when the epoch was raised. */
  create(
    session: NewSession,
    limits: SessionLimits,
  ): Promise<(StoredSession & { readonly ended: readonly string[] }) | undefined>
  /** How often all sessions of the user were ended. */
  epochOf(user: UserRef): Promise<number>
  /** Only when tenant, user and session all fit. */
  find(ref: SessionRef): Promise<StoredSession | undefined>
  /** One step: compares the generation, and swaps. */
  rotate(rotation: Rotation): Promise<RotationResult>
  /** True when the session was active. */
  revoke(ref: SessionRef, reason: string): Promise<boolean>
  /** Ends all sessions of the user but the kept one, and raises the epoch. */
  revokeAll(user: UserRef, reason: string, kept: string | undefined): Promise<UserRevocation>
  /** The same for several users, as a part of the caller's transaction. */
  revokeWithin(
    transaction: SessionTransaction,
    users: readonly UserRef[],
    reason: string,
    kept: string | undefined,
  ): Promise<readonly UserRevocation[]>
  /** Deletes what is kept of the user's sessions, which have ended. The epoch stays. */
  erase(user: UserRef): Promise<void>
  /** The active sessions, newest first. */
  list(user: UserRef): Promise<readonly SessionRecord[]>
  /**
   * Sessions that were revoked within the last so many milliseconds: all, or those of one user. With a user it comes after
   * whatever was begun for that user before, also where its caller was told that it failed; it may reject while
   * that goes on, and is asked again.
   */
  recentlyRevoked(withinMs: number, user?: UserRef): Promise<readonly SessionRef[]>
  /** Deletes sessions that ended longer ago than so many milliseconds. An authority calls it once an hour. */
  prune?(endedBefore: number): Promise<number>
}
