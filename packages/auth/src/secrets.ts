import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { deriveKey, option, type Option } from '@quintet/core/kit'

/** A secret: text, bytes, or an object that gives the text on request, such as core's `Secret`. */
export type SecretInput = string | Uint8Array | { reveal(): string }

/** Secrets shorter than this (in bytes) are refused: RFC 7518 section 3.2 asks for the size of the hash. */
export const minSecretLength = 32

const inspect = Symbol.for('nodejs.util.inspect.custom')

/** A secret made by {@link deriveSecrets}. It shows itself only through `reveal()`. */
export class DerivedSecret {
  readonly label: string
  readonly #text: string

  constructor(label: string, text: string) {
    this.label = label
    this.#text = text
  }

  /** The secret as base64url text, e.g. to hand `cnf` to an app that only verifies. */
  reveal(): string {
    return this.#text
  }

  toJSON(): string {
    return '[redacted]'
  }

  toString(): string {
    return '[redacted]'
  }

  [inspect](): string {
    return `DerivedSecret(${this.label}) [redacted]`
  }
}

/** The secrets of an authority. Each has a purpose of its own; none can be computed from another. */
export interface AuthSecrets {
  /** Binds access tokens to a refresh generation. Verifiers need this one, and this one alone. */
  readonly cnf: SecretInput
  /** Proves that a refresh token is ours. */
  readonly refreshMac: SecretInput
  /** Derives the successor of a refresh token. */
  readonly refreshNext: SecretInput
  /** Former ones: refresh tokens made with them are accepted, and answered with new ones. Keep them for `absolute`. */
  readonly previous?: readonly Pick<AuthSecrets, 'refreshMac' | 'refreshNext'>[]
}

export interface DerivedSecrets extends AuthSecrets {
  readonly cnf: DerivedSecret
  readonly refreshMac: DerivedSecret
  readonly refreshNext: DerivedSecret
  /** For the one key of an HS256 deployment. */
  readonly signing: DerivedSecret
  /** For {@link https://www.rfc-editor.org/rfc/rfc9449#section-8 | DPoP nonces}. */
  readonly dpopNonce: DerivedSecret
  /** Signs CSRF tokens. */
  readonly csrf: DerivedSecret
  /** Those of former roots. Verifiers take `previous.map(({ cnf }) => cnf)` as `cnf.previousSecrets`. */
  readonly previous: readonly DerivedSecrets[]
}

/**
 * Derives every secret of an auth app from one root secret with HKDF-SHA-256, each under a label of its own.
 *
 * Give the root to the auth app alone. An app that verifies gets `cnf.reveal()`. To change the root, name the former one
 * as previous for as long as a session may last: its refresh tokens go on working.
 *
 * @throws TypeError when the root has fewer than 32 bytes.
 * @see RFC 5869
 */
export function deriveSecrets(root: SecretInput, ...previousRoots: readonly SecretInput[]): DerivedSecrets {
  const bytes = secretBytes(root, 'deriveSecrets')
  const derive = (label: string): DerivedSecret =>
    new DerivedSecret(label, deriveKey(bytes, `quintet/auth/${label}`).toString('base64url'))
  return Object.freeze({
    cnf: derive('cnf.fp/v1'),
    refreshMac: derive('rt-mac/v1'),
    refreshNext: derive('rt-next/v1'),
    signing: derive('jwt-sign/v1'),
    dpopNonce: derive('dpop-nonce/v1'),
    csrf: derive('csrf/v1'),
    previous: Object.freeze(previousRoots.map((previous) => deriveSecrets(previous))),
  })
}

/** The bytes of a secret. @throws TypeError naming the option, never the value. */
export function secretBytes(secret: SecretInput, path: string): Buffer {
  const isHolder = typeof secret === 'object' && secret !== null && 'reveal' in secret
  const value = isHolder ? secret.reveal() : secret
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw new TypeError(`${path}: give the secret as text, bytes or an object with reveal().`)
  }
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)
  if (bytes.length < minSecretLength) {
    throw new TypeError(`${path}: the secret needs at least ${minSecretLength} bytes of random data.`)
  }
  return bytes
}

/** A secret as an option: read into the key for HMAC. */
export function secretKeyOption(): Option<KeyObject> {
  const expected = `a secret of at least ${minSecretLength} bytes`
  return option.parsed(expected, (given, path) => secretKey(given as SecretInput, path))
}

/** The secret as a key for HMAC. */
export function secretKey(secret: SecretInput, path: string): KeyObject {
  return createSecretKey(secretBytes(secret, path))
}

export function hmac(key: KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
