import { hash } from 'node:crypto'
import { safeEqual } from '@quintet/core/kit'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { Refusal } from '../errors.ts'
import type { VerificationAlgorithm } from '../keys/algorithms.ts'
import { importVerificationKey, type Jwk } from '../keys/import-key.ts'
import { parseCompactJws, parseJsonObject } from '../tokens/compact-jws.ts'
import { verifySignature } from '../tokens/verify-signature.ts'

/** The request that a proof must be for. */
export interface ProvedRequest {
  readonly method: string
  /** Absolute; its query and fragment do not count. */
  readonly url: string
  /** The access token that comes with it; none at a token endpoint. */
  readonly accessToken: string | undefined
}

export interface ProofRules {
  readonly now: number
  /** How old a proof may be, and how far ahead its clock, in milliseconds. */
  readonly window: number
  readonly tolerance: number
}

/** What a proof that holds says. */
export interface DpopProof {
  /** The thumbprint of the key: what `cnf.jkt` must be. */
  readonly jkt: string
  readonly jti: string
  readonly nonce: string | undefined
}

const publicMembers: ReadonlySet<string> = new Set([
  'kty',
  'crv',
  'x',
  'y',
  'alg',
  'use',
  'kid',
  'key_ops',
  'ext',
])
const maxProofLength = 4_096

/** The algorithms of proofs; a challenge names them (RFC 9449 section 7.1). */
export const dpopAlgorithms: readonly VerificationAlgorithm[] = Object.freeze(['Ed25519', 'ES256'])

/**
 * Verifies a proof of possession, except that it is used for the first time.
 *
 * @throws Refusal
 * @see RFC 9449 section 4.3
 */
export async function verifyDpopProof(
  proof: string,
  request: ProvedRequest,
  rules: ProofRules,
): Promise<DpopProof> {
  const jws = parseCompactJws(proof, { members: ['jwk'], maxLength: maxProofLength })
  if (jws.header['typ'] !== 'dpop+jwt') throw new Refusal('The proof has another "typ".')
  const jwk = jws.header['jwk']
  if (typeof jwk !== 'object' || jwk === null) throw new Refusal('The proof carries no key.')
  if (!Object.keys(jwk).every((member) => publicMembers.has(member))) {
    throw new Refusal('The key of the proof is not a plain public key.')
  }
  const { kty, crv, x, y } = jwk as Jwk
  const publicJwk: Jwk = kty === 'EC' ? { kty, crv, x, y } : { kty, crv, x }
  let key
  try {
    key = await importVerificationKey({ ...publicJwk, kid: 'dpop' }, dpopAlgorithms)
  } catch (error) {
    throw new Refusal('The key of the proof cannot be used.', { cause: error })
  }
  await verifySignature(proof, jws, key)
  const claims = parseJsonObject(jws.payload, 'proof')
  checkClaims(claims, request, rules)
  const jkt = await calculateJwkThumbprint(publicJwk as Parameters<typeof calculateJwkThumbprint>[0])
  const { jti, nonce } = claims
  return { jkt, jti: jti as string, nonce: typeof nonce === 'string' ? nonce : undefined }
}

function checkClaims(claims: Record<string, unknown>, request: ProvedRequest, rules: ProofRules): void {
  const { jti, htm, htu, iat, ath } = claims
  if (typeof jti !== 'string' || jti === '' || jti.length > 256)
    throw new Refusal('The proof has no usable "jti".')
  if (htm !== request.method) throw new Refusal('The proof is for another method.')
  const target = typeof htu === 'string' ? withoutQuery(htu) : undefined
  if (target === undefined || target !== withoutQuery(request.url))
    throw new Refusal('The proof is for another URL.')
  if (typeof iat !== 'number' || !Number.isFinite(iat)) throw new Refusal('The proof has no time.')
  const age = rules.now - iat * 1_000
  if (age > rules.window || age < -rules.tolerance)
    throw new Refusal('The proof is too old or from the future.')
  if (request.accessToken === undefined) return
  if (typeof ath !== 'string' || !safeEqual(ath, hash('sha256', request.accessToken, 'base64url'))) {
    throw new Refusal('The proof is for another access token.')
  }
}

/** Normalised as RFC 3986 section 6.2 asks, without query and fragment. */
function withoutQuery(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  return `${url.origin}${url.pathname}`
}
