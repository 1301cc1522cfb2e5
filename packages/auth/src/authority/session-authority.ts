import type { Device, Session } from '../sessions/session-record.ts'
import type { SessionRef, UserRef } from '../sessions/session-keys.ts'
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
