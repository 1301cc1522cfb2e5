import type { Principal } from './principal.ts'

/** What a surface found on a call, before anybody has verified it. */
export type Credentials =
  | { readonly scheme: 'none' }
  | { readonly scheme: 'bearer'; readonly token: string }
  | {
      /** RFC 9449: the token with the proof of possession for this method and URL. */
      readonly scheme: 'dpop'
      readonly token: string
      readonly proof: string
      readonly method: string
      readonly url: string
    }
  | {
      /**
       * A principal that the surface itself has verified: the signed envelope of a job, or a sibling
       * process on an authenticated link. Never built from a client's input.
       */
      readonly scheme: 'attested'
      readonly principal: Principal
      readonly by: 'envelope' | 'link' | 'in-process'
    }

export const noCredentials: Credentials = Object.freeze({ scheme: 'none' })

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
   *   cannot be checked now. It never answers with an anonymous principal for credentials that were given.
   */
  authenticate(credentials: Credentials, options: AuthenticateOptions): Promise<Principal>
  /** Calls `onEnd` once when the principal's session ends, so that its open connections can be closed. */
  watch?(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable
}
