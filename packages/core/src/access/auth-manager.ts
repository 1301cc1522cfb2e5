import type { QuintetError } from '../errors.ts'
import type { Challenge } from './challenge.ts'
import type { Principal } from './principal.ts'
import type { Credentials } from './credentials.ts'

export interface AuthenticateOptions {
  readonly signal: AbortSignal
  /** Read the session now, whatever the manager's own freshness is. */
  readonly freshness?: 'strict'
}

/** Why a session ended while a connection was open. */
export type SessionEnd = 'revoked' | 'superseded' | 'expired'

/** Turns credentials into a principal. `@quintet/auth` makes one; a system without any refuses every credential. */
export interface AuthManager {
  /**
   * @throws QuintetError of kind `unauthenticated` when the credentials are bad, `unavailable` when they
   *   cannot be checked now; the signal's reason, at once, when the caller has gone. It never answers with an anonymous principal for credentials that were given.
   */
  authenticate(credentials: Credentials, options: AuthenticateOptions): Promise<Principal>
  /**
   * The principal where nothing must be waited for, as of a token that was verified before; otherwise undefined, also to
   * say what is wrong: the pipeline then authenticates. It is not asked about calls that want the session read now.
   */
  recall?(credentials: Credentials): Principal | undefined
  /**
   * Calls `onEnd` when the principal's session ends, so that its open connections can be closed: once, except that
   * after `'superseded'` the session goes on under a newer token, and its end may follow.
   */
  watch?(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable
  /**
   * The challenge for a caller that was refused: `WWW-Authenticate`, and what a scheme has beside it, such as
   * `DPoP-Nonce`. Empty for an error that no other credentials would mend. HTTP surfaces send it; without this method
   * they ask for a bearer token.
   */
  challenge?(error: QuintetError, presented: Credentials['scheme']): Challenge
}
