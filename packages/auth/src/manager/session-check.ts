import type { KeyObject } from 'node:crypto'
import type { UserPrincipal } from '@quintet/core'
import { safeEqual, type SessionEnd } from '@quintet/core/kit'
import { fingerprint } from '../sessions/binding.ts'
import type { SessionSnapshot } from './session-snapshot.ts'

/** A verified token on its way to the session: what is computed for it once and used at every call. */
export interface BoundToken {
  readonly principal: UserPrincipal
  readonly key: string
  readonly fp: string | undefined
  readonly jkt: string | undefined
  readonly generation: number | undefined
  /** The refresh id with which the binding held last; it need not be computed again for the same one. */
  boundTo: string | undefined
  /** The refresh id of the session for which the database has confirmed that this token is superseded. */
  comparedFor: string | undefined
  seenAt: number
}

/** Decides whether a session stands behind a token: alive, and in the generation that the token was made in. */
export class SessionCheck {
  /** The present secret first; none when binding is off. */
  readonly #keys: readonly KeyObject[]
  readonly #grace: number
  readonly #tolerance: number
  #hasMatched = false

  constructor(keys: readonly KeyObject[], grace: number, tolerance: number) {
    this.#keys = keys
    this.#grace = grace
    this.#tolerance = tolerance
  }

  /** True when tokens must be bound. */
  get binds(): boolean {
    return this.#keys.length > 0
  }

  /** Whether any token has ever fitted its session. */
  get hasMatched(): boolean {
    return this.#hasMatched
  }

  decide(token: BoundToken, session: SessionSnapshot, now: number): 'alive' | SessionEnd {
    if (session.state === 'revoked') return 'revoked'
    // Written so that a time that is not a number counts as past.
    if (!(session.expiresAt + this.#tolerance > now)) return 'expired'
    if (!this.binds || token.boundTo === session.refreshId) return 'alive'
    if (token.fp === undefined) return 'superseded'
    if (this.#matches(token, session.refreshId)) {
      token.boundTo = session.refreshId
      this.#hasMatched = true
      return 'alive'
    }
    const inGrace = this.#grace > 0 && session.previousId !== '' && now - session.rotatedAt <= this.#grace
    return inGrace && this.#matches(token, session.previousId) ? 'alive' : 'superseded'
  }

  #matches({ principal, fp = '' }: BoundToken, refreshId: string): boolean {
    const { tenantId, sessionId } = principal
    return this.#keys.some((key) => safeEqual(fp, fingerprint(key, tenantId, sessionId ?? '', refreshId)))
  }
}
