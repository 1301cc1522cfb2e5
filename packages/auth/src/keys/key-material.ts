import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
  type webcrypto,
} from 'node:crypto'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { hmac, secretBytes, secretKey, type SecretInput } from '../secrets.ts'
import type { SigningAlgorithm } from './algorithms.ts'
import { checkJwk, importCryptoKey, importVerificationKey, type Jwk } from './import-key.ts'
import type { VerificationKey } from './verification-keys.ts'

/**
 * - `prepublished`: in the JWKS, so that verifiers learn it, and not yet used.
 * - `signing`: the one that signs.
 * - `verify-only`: signs no more; tokens that it has signed are still accepted.
 */
export type KeyState = 'prepublished' | 'signing' | 'verify-only'

/** A private key from configuration or storage. Exactly one of `jwk`, `pem` and `secret`. */
export interface KeyInput {
  /** As a private JSON Web Key. */
  readonly jwk?: Jwk
  /** As PKCS #8 text. */
  readonly pem?: SecretInput
  /** For HS256 alone: the one secret of a one-key deployment. */
  readonly secret?: SecretInput
  /** @defaultValue the RFC 7638 thumbprint */
  readonly kid?: string
  /** @defaultValue `'signing'` for the first key of a ring, `'verify-only'` for the others */
  readonly state?: KeyState
  /** When it came into its state, in milliseconds since the epoch. @defaultValue now */
  readonly since?: number
}

/** A key whose members have been read, and not what is in them. */
type UnreadKey = { readonly [Member in 'jwk' | 'pem' | 'secret' | 'kid']: KeyInput[Member] | undefined }

/** A private key that has been checked and imported. */
export interface KeyMaterial {
  readonly kid: string
  readonly algorithm: SigningAlgorithm
  readonly signingKey: webcrypto.CryptoKey
  readonly verification: VerificationKey
  /** What the JWKS shows; undefined for a symmetric key. */
  readonly publicJwk: Jwk | undefined
  readonly privateJwk: Jwk
}

export function generateJwk(algorithm: SigningAlgorithm): Jwk {
  if (algorithm === 'HS256') return { kty: 'oct', k: randomBytes(32).toString('base64url') }
  const { privateKey } =
    algorithm === 'Ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ format: 'jwk' }) as Jwk
}

/** @throws TypeError saying what is wrong, never showing the key. */
export async function importKeyMaterial(
  input: UnreadKey,
  algorithm: SigningAlgorithm,
  path: string,
): Promise<KeyMaterial> {
  const given = [input.jwk, input.pem, input.secret].filter((each) => each !== undefined)
  if (given.length !== 1) throw new TypeError(`${path}: give exactly one of jwk, pem and secret.`)
  const raw =
    input.jwk ??
    (input.pem === undefined ? fromSecret(input.secret as SecretInput, path) : fromPem(input.pem, path))
  try {
    const kid = input.kid ?? raw.kid ?? (await defaultKid(raw))
    const jwk: Jwk = { ...raw, kid, alg: raw.alg ?? algorithm }
    checkJwk(jwk, [algorithm])
    if (jwk.kty !== 'oct' && typeof jwk.d !== 'string') throw new TypeError('is not a private key')
    const verification = await importVerificationKey({ ...jwk, key_ops: undefined }, [algorithm])
    const signingKey = await importCryptoKey({ ...jwk, key_ops: undefined }, algorithm, 'sign')
    const shared = { kty: jwk.kty, kid, alg: algorithm, use: 'sig' }
    const publicJwk: Jwk | undefined =
      jwk.kty === 'oct'
        ? undefined
        : jwk.kty === 'EC'
          ? { ...shared, crv: jwk.crv, x: jwk.x, y: jwk.y }
          : { ...shared, crv: jwk.crv, x: jwk.x }
    const privateJwk = Object.freeze(
      publicJwk === undefined ? { ...shared, k: jwk.k } : { ...publicJwk, d: jwk.d },
    )
    return {
      kid,
      algorithm,
      signingKey,
      verification,
      publicJwk: publicJwk && Object.freeze(publicJwk),
      privateJwk,
    }
  } catch (error) {
    throw new TypeError(`${path}: the key ${(error as Error).message}.`, { cause: error })
  }
}

function fromSecret(secret: SecretInput, path: string): Jwk {
  return { kty: 'oct', k: secretBytes(secret, `${path}.secret`).toString('base64url') }
}

function fromPem(pem: SecretInput, path: string): Jwk {
  const text = typeof pem === 'object' && 'reveal' in pem ? pem.reveal() : pem
  let key: KeyObject
  try {
    key = createPrivateKey({ key: typeof text === 'string' ? text : Buffer.from(text), format: 'pem' })
  } catch {
    throw new TypeError(`${path}.pem: is not an unencrypted private key in PEM (PKCS #8).`)
  }
  return key.export({ format: 'jwk' }) as Jwk
}

/** RFC 7638; for a symmetric key a value that says nothing about it. */
async function defaultKid(jwk: Jwk): Promise<string> {
  if (jwk.kty === 'oct') {
    return hmac(secretKey(Buffer.from(jwk.k ?? '', 'base64url'), 'key'), 'kid')
      .toString('base64url')
      .slice(0, 16)
  }
  return await calculateJwkThumbprint(jwk as Parameters<typeof calculateJwkThumbprint>[0])
}
