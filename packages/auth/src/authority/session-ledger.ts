import type { SessionRef, UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type {
  NewSession,
  Rotation,
  RotationResult,
  SessionTransaction,
  UserRevocation,
} from '../sessions/session-store.ts'

/** What a revocation of many sessions has ended. */
export interface EndedSessions {
  readonly ended: readonly string[]
  /** The user's epoch from now on, where a store counts it. */
  readonly epoch?: number
}

/** A session that is active, and when it was last seen. */
export interface ListedSession {
  readonly record: SessionRecord
  readonly lastSeenAt: number | null
}

/**
 * Where an authority keeps its sessions: Redis alone, or a store whose decisions Redis is told of. What the ledger has
 * decided holds; `tellRevoked` and `tellRevokedAll` reject while Redis does not know of it yet.
 */
export interface SessionLedger extends AsyncDisposable {
  /** Makes a session; ends those of a user who has too many, and tells of each, also where it fails after that. */
  create(session: NewSession, onEvicted: (sessionId: string) => void): Promise<SessionRecord>
  rotate(rotation: Rotation): Promise<RotationResult>
  /** True when the session was active. */
  revoke(ref: SessionRef, reason: string): Promise<boolean>
  /** Ends all sessions of a user but the kept one. */
  revokeAll(user: UserRef, reason: string, kept: string | undefined): Promise<EndedSessions>
  /** The same for several users within the app's transaction; `announce` tells Redis once that has committed. */
  revokeWithin(
    transaction: SessionTransaction,
    users: readonly UserRef[],
    reason: string,
    kept: string | undefined,
  ): Promise<{ readonly users: readonly UserRevocation[]; announce(): Promise<boolean> }>
  epochOf(user: UserRef): Promise<number>
  /** Forgets the sessions of a user, which have ended. */
  erase(user: UserRef): Promise<void>
  tellRevoked(ref: SessionRef, reason: string): Promise<void>
  tellRevokedAll(user: UserRef, reason: string, kept: string | undefined, done: EndedSessions): Promise<void>
  find(ref: SessionRef): Promise<SessionRecord | undefined>
  list(user: UserRef): Promise<readonly ListedSession[]>
  /** Tells Redis again of what was revoked lately. Resolves to how many. */
  reconcile(): Promise<number>
}
