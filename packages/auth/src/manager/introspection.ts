import type { AccessClaims } from '../tokens/access-claims.ts'

/**
 * The answer to an introspection of an access token.
 *
 * @see RFC 7662 section 2.2
 */
export type Introspection =
  | { readonly active: false }
  | (Pick<
      AccessClaims,
      'iss' | 'aud' | 'sub' | 'sid' | 'tid' | 'client_id' | 'exp' | 'iat' | 'jti' | 'roles'
    > & {
      readonly active: true
      readonly token_type: 'Bearer' | 'DPoP'
      /** The key that a proof must be by. */
      readonly cnf?: { readonly jkt: string }
    })

/** Of a token whose session is active. What binds it to a refresh is between issuer and verifiers. */
export function toIntrospection(claims: AccessClaims): Introspection {
  const { iss, aud, sub, sid, tid, client_id, exp, iat, jti, roles } = claims
  const jkt = claims.cnf?.jkt
  return {
    active: true,
    token_type: jkt === undefined ? 'Bearer' : 'DPoP',
    iss,
    aud,
    sub,
    sid,
    tid,
    ...(client_id !== undefined && { client_id }),
    exp,
    iat,
    jti,
    roles,
    ...(jkt !== undefined && { cnf: { jkt } }),
  }
}
