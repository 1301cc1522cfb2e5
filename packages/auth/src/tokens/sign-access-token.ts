import { randomBytes } from 'node:crypto'
import { SignJWT } from 'jose/jwt/sign'
import type { SigningKey } from '../keys/key-ring.ts'
import { accessTokenType, type AccessClaims } from './access-claims.ts'

/** Signs an access token (RFC 9068). Adds `jti`. */
export async function signAccessToken(
  claims: Omit<AccessClaims, 'jti'>,
  signer: SigningKey,
): Promise<string> {
  const payload = { ...claims, jti: randomBytes(16).toString('base64url') }
  return await new SignJWT(payload as unknown as Record<string, unknown>)
    .setProtectedHeader({ alg: signer.algorithm, kid: signer.kid, typ: accessTokenType })
    .sign(signer.key)
}
