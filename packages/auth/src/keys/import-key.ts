import type { webcrypto } from 'node:crypto'
import { importJWK } from 'jose/key/import'
import { algorithms, type VerificationAlgorithm } from './algorithms.ts'
import type { VerificationKey } from './verification-keys.ts'

/** The members of a JSON Web Key that matter here (RFC 7517, RFC 8037). */
export interface Jwk {
  readonly kty?: string | undefined
  readonly kid?: string | undefined
  readonly alg?: string | undefined
  readonly use?: string | undefined
  readonly key_ops?: string[] | undefined
  readonly crv?: string | undefined
  readonly x?: string | undefined
  readonly y?: string | undefined
  readonly d?: string | undefined
  readonly n?: string | undefined
  readonly e?: string | undefined
  readonly k?: string | undefined
}

const base64url = /^[A-Za-z0-9_-]+$/
const kidPattern = /^[A-Za-z0-9._~:@=+/-]{1,128}$/
const minRsaBytes = 256

/** True for a key id that is safe to look up and to log. */
export function isKeyId(kid: unknown): kid is string {
  return typeof kid === 'string' && kidPattern.test(kid)
}

/** The one algorithm that a key serves: what it names, or what follows from its type. */
export function algorithmOf(jwk: Jwk): VerificationAlgorithm {
  if (jwk.alg !== undefined) {
    if (Object.hasOwn(algorithms, jwk.alg)) return jwk.alg as VerificationAlgorithm
    throw new TypeError('names an algorithm that is not supported')
  }
  for (const [name, facts] of Object.entries(algorithms)) {
    if (facts.kty === jwk.kty && facts.crv !== undefined && facts.crv === jwk.crv)
      return name as VerificationAlgorithm
  }
  throw new TypeError('must name its algorithm in "alg"')
}

/**
 * Holds a JSON Web Key to the policy: a known and allowed algorithm, the right type and curve, meant for
 * signatures, long enough.
 *
 * @throws TypeError saying what is wrong, never showing the key.
 */
export function checkJwk(jwk: Jwk, allowed: readonly VerificationAlgorithm[]): VerificationAlgorithm {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk))
    throw new TypeError('is not a JSON Web Key')
  if (!isKeyId(jwk.kid)) throw new TypeError('needs a "kid" of 1 to 128 plain characters')
  if (jwk.use !== undefined && jwk.use !== 'sig') throw new TypeError('is not meant for signatures ("use")')
  const algorithm = algorithmOf(jwk)
  if (!allowed.includes(algorithm)) throw new TypeError(`is for ${algorithm}, which is not allowed here`)
  const { kty, crv, minBytes } = algorithms[algorithm]
  if (jwk.kty !== kty || (crv !== undefined && jwk.crv !== crv)) {
    throw new TypeError(`does not fit its algorithm ${algorithm} ("kty", "crv")`)
  }
  if (minBytes !== undefined) {
    const bytes =
      typeof jwk.k === 'string' && base64url.test(jwk.k) ? Buffer.from(jwk.k, 'base64url').length : 0
    if (bytes < minBytes) throw new TypeError(`is too short: ${algorithm} needs ${minBytes} bytes`)
  }
  if (kty === 'RSA') checkRsa(jwk)
  return algorithm
}

/** 2048 bits at least, and the one public exponent that is in honest use. */
function checkRsa(jwk: Jwk): void {
  const bytes =
    typeof jwk.n === 'string' && base64url.test(jwk.n) ? Buffer.from(jwk.n, 'base64url').length : 0
  if (bytes < minRsaBytes) throw new TypeError('is too short: RSA needs 2048 bits')
  if (jwk.e !== 'AQAB') throw new TypeError('has a public exponent other than 65537')
}

/**
 * Imports the verifying half of a JSON Web Key.
 *
 * @throws TypeError saying what is wrong, never showing the key.
 */
export async function importVerificationKey(
  jwk: Jwk,
  allowed: readonly VerificationAlgorithm[],
): Promise<VerificationKey> {
  const algorithm = checkJwk(jwk, allowed)
  if (jwk.key_ops !== undefined && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) {
    throw new TypeError('may not verify ("key_ops")')
  }
  const { kty, kid } = jwk
  const half =
    kty === 'oct'
      ? { kty, k: jwk.k }
      : kty === 'RSA'
        ? { kty, n: jwk.n, e: jwk.e }
        : kty === 'EC'
          ? { kty, crv: jwk.crv, x: jwk.x, y: jwk.y }
          : { kty, crv: jwk.crv, x: jwk.x }
  const key = await importCryptoKey(half as Jwk, algorithm, 'verify')
  return Object.freeze({ kid: kid as string, algorithm, key })
}

/** @throws TypeError without showing the key. */
export async function importCryptoKey(
  jwk: Jwk,
  algorithm: VerificationAlgorithm,
  use: 'sign' | 'verify',
): Promise<webcrypto.CryptoKey> {
  try {
    if (jwk.kty === 'oct') {
      const hash = `SHA-${algorithm.slice(2)}`
      const bytes = Buffer.from(jwk.k ?? '', 'base64url')
      return await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash }, false, [use])
    }
    return (await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], algorithm)) as webcrypto.CryptoKey
  } catch {
    throw new TypeError(`is not a usable ${algorithm} key`)
  }
}
