import type { KeyObject } from 'node:crypto'
import type { Clock } from '@quintet/core/kit'
import type { KeyRing } from '../keys/key-ring.ts'
import { fingerprint } from '../sessions/binding.ts'
import { toSession, type SessionRecord } from '../sessions/session-record.ts'
import { signAccessToken } from '../tokens/sign-access-token.ts'
import type { RefreshToken, RefreshTokenCodec } from './refresh-token.ts'
import type { SessionTokens } from './session-authority.ts'

export interface TokenIssuerOptions {
  readonly keys: KeyRing
  readonly codec: RefreshTokenCodec
  /** Binds access tokens to a refresh generation. */
  readonly bindingKey: KeyObject
  readonly issuer: string
  readonly audience: string | readonly string[]
  readonly clientId: string
  /** In milliseconds. */
  readonly accessTtl: number
  readonly clock: Clock
}

/** Signs the tokens of a session. */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions

  constructor(options: TokenIssuerOptions) {
    this.#options = options
  }

  /** An access token for what the session is now, beside its refresh token. */
  async issue(
    record: SessionRecord,
    token: RefreshToken,
    clientId = this.#options.clientId,
  ): Promise<SessionTokens> {
    const { keys, codec, bindingKey, issuer, audience, accessTtl, clock } = this.#options
    const now = clock.now()
    const expiresAt = Math.min(now + accessTtl, record.absoluteExpiresAt)
    const fp = fingerprint(bindingKey, record.tenantId, record.sessionId, record.refreshId)
    const accessToken = await signAccessToken(
      {
        iss: issuer,
        aud: audience,
        sub: record.userId,
        sid: record.sessionId,
        tid: record.tenantId,
        client_id: clientId,
        roles: record.roles,
        permissions: record.permissions,
        cnf: record.jkt === null ? { fp } : { fp, jkt: record.jkt },
        gen: record.generation,
        iat: Math.floor(now / 1_000),
        exp: Math.ceil(expiresAt / 1_000),
        amr: record.amr,
        aal: record.aal,
        auth_time: Math.floor(record.authenticatedAt / 1_000),
      },
      keys.signer(),
    )
    return {
      accessToken,
      refreshToken: codec.format(token),
      tokenType: record.jkt === null ? 'Bearer' : 'DPoP',
      expiresIn: Math.max(0, Math.floor((expiresAt - now) / 1_000)),
      session: toSession(record),
    }
  }
}
