import { compactVerify } from 'jose/jws/compact/verify'
import { Refusal } from '../errors.ts'
import type { VerificationKey } from '../keys/verification-keys.ts'
import { parseCompactJws, type CompactJws } from './compact-jws.ts'

/**
 * Verifies the signature of a token that has been parsed, with the one algorithm of the key.
 *
 * @throws Refusal
 */
export async function verifySignature(token: string, jws: CompactJws, key: VerificationKey): Promise<void> {
  // Compared here as well as in jose: the algorithm comes from the key, never from the token (RFC 8725 section 3.1).
  if (jws.alg !== key.algorithm) throw new Refusal('The algorithm is not that of the key.')
  try {
    await compactVerify(token, key.key, { algorithms: [key.algorithm] })
  } catch (error) {
    throw new Refusal('The signature is not valid.', { cause: error })
  }
}

/** Parses and verifies in one step. Resolves to what was signed. @throws Refusal */
export async function verifyCompactJws(token: string, key: VerificationKey): Promise<CompactJws> {
  const jws = parseCompactJws(token)
  await verifySignature(token, jws, key)
  return jws
}
