import type { Device, Session } from '../sessions/session-record.ts'
import type { SessionRef, UserRef } from '../sessions/session-keys.ts'
import type { SessionTransaction } from '../sessions/session-store.ts'
import type { AdmittedAttempt, SignInAttempt } from './throttle.ts'

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
  /**
   * The `client_id` of the access token in place of the issuer's own; the same as `userId` for a machine that acts for no user,
   * whose refresh token is to be thrown away. @see RFC 9068 section 2.2
   */
  readonly clientId?: string
  /**
   * What `epochOf` said before the credentials were read: where all sessions of the user have been ended since, for a new
   * password, other roles or the end of the account, no session is made. @defaultValue not compared
   */
  readonly epoch?: number
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

export interface RevokeWithinOptions {
  /** @defaultValue `'signed-out-everywhere'` */
  readonly reason?: string
  /** The session that goes on. */
  readonly kept?: string
}

/** Sessions that have ended, if the transaction commits. */
export interface PendingRevocation {
  /** Their ids. */
  readonly ended: readonly string[]
  /**
   * Tells Redis, once the transaction has committed. False when Redis could not be told of all now: it is told as soon as
   * it can be, since what was committed holds.
   */
  announce(): Promise<boolean>
}

/** A user who has proved more, within a session. */
export interface StepUp extends RefreshOptions {
  readonly aal: number
  /** The session that the refresh token must be of: what one user has proved lifts no session of another. @defaultValue not compared */
  readonly sessionId?: string
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
  /** How often all sessions of a user were ended: read it before the credentials that a sign-in is checked against. */
  epochOf(user: UserRef): Promise<number>
  /**
   * Starts a session. The caller has verified the user.
   *
   * @throws AuthError `ERR_AUTH_SIGN_IN_OUTDATED` where the epoch is another one than given
   */
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
  /**
   * Ends all sessions of users in a transaction of the app's, together with what they end for: a new password, other
   * roles, the end of an account. The store must be in the same database, at isolation level read committed. Of a
   * transaction that commits Redis is told by `announce`, without it shortly after, and after a crash by `reconcile`.
   *
   * @throws TypeError without a store
   */
  revokeWithin(
    transaction: SessionTransaction,
    users: UserRef | readonly UserRef[],
    options?: RevokeWithinOptions,
  ): Promise<PendingRevocation>
  /** Ends all sessions of a user, and deletes what is kept of them: their times, devices and roles. */
  erase(user: UserRef): Promise<void>
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
