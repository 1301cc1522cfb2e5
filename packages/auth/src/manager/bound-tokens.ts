import type { UserPrincipal } from '@quintet/core'
import { AuthError, Refusal } from '../errors.ts'
import { isId, isSessionId, sessionKey, type SessionRef } from '../sessions/session-keys.ts'
import type { AccessClaims } from '../tokens/access-claims.ts'
import type { TokenVerifier, VerifiedToken } from '../tokens/token-verifier.ts'
import type { BoundToken } from './session-check.ts'

/** Verifies access tokens, and keeps what is computed for each: that goes with the verified token. */
export class BoundTokens {
  readonly #verifier: TokenVerifier
  readonly #mustBeBound: boolean
  readonly #known = new WeakMap<VerifiedToken, BoundToken>()

  constructor(verifier: TokenVerifier, mustBeBound: boolean) {
    this.#verifier = verifier
    this.#mustBeBound = mustBeBound
  }

  /** A token that was verified before and still holds; undefined when the long way must be taken, also to say what is wrong. */
  recall(text: string): BoundToken | undefined {
    try {
      const verified = this.#verifier.recall(text)
      return verified && this.#known.get(verified)
    } catch {
      return undefined
    }
  }

  /** @throws AuthError */
  async verify(text: string, signal: AbortSignal | undefined): Promise<BoundToken> {
    const verified = this.#verifier.recall(text) ?? (await this.#verifier.verify(text, { signal }))
    const known = this.#known.get(verified)
    if (known !== undefined) return known
    const token = this.#bind(verified)
    this.#known.set(verified, token)
    return token
  }

  #bind({ claims }: VerifiedToken): BoundToken {
    if (!isId(claims.sub) || !isId(claims.tid) || !isSessionId(claims.sid))
      throw invalidToken('The token names a user, tenant or session by an id that is not accepted.')
    if (this.#mustBeBound && claims.cnf?.fp === undefined)
      throw invalidToken('The token is not bound ("cnf.fp").')
    const principal: UserPrincipal = Object.freeze({
      kind: 'user',
      userId: claims.sub,
      tenantId: claims.tid,
      sessionId: claims.sid,
      roles: claims.roles,
      permissions: claims.permissions,
      expiresAt: claims.exp * 1_000,
      claims: claims as unknown as Record<string, unknown>,
    })
    return bindPrincipal(principal)
  }
}

export function bindPrincipal(principal: UserPrincipal): BoundToken {
  const { cnf, gen } = principal.claims as unknown as Partial<AccessClaims>
  return {
    principal,
    key: sessionKey(refOf(principal)),
    fp: cnf?.fp,
    jkt: cnf?.jkt,
    generation: gen,
    boundTo: undefined,
    comparedFor: undefined,
    seenAt: 0,
  }
}

export function refOf({ tenantId, userId, sessionId }: UserPrincipal): SessionRef {
  return { tenantId, userId, sessionId: sessionId ?? '' }
}

export function invalidToken(reason: string): AuthError {
  return new AuthError('ERR_AUTH_TOKEN_INVALID', { cause: new Refusal(reason) })
}
