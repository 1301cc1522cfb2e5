import { KeyObject, type webcrypto } from 'node:crypto'
import type { VerificationAlgorithm } from './algorithms.ts'

/** A key that can verify and nothing else, bound to its one algorithm. */
export interface VerificationKey {
  readonly kid: string
  readonly algorithm: VerificationAlgorithm
  readonly key: webcrypto.CryptoKey
}

/** Where a verifier finds keys: a key ring, given public keys, or a remote JWKS. */
export interface VerificationKeys {
  /**
   * The key of that id, or undefined when there is none. Only after a strict parse of the token.
   *
   * @param signal ends the wait of this caller with its reason.
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when the keys cannot be had now.
   */
  find(kid: string, signal?: AbortSignal): Promise<VerificationKey | undefined>
  /** Changes whenever a key goes away, so that verified-token caches forget what that key has signed. */
  readonly epoch: number
  /**
   * Resolves when there are keys to verify with; where it is missing there always are.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when they cannot be had now.
   */
  ready?(): Promise<void>
}

/** Whether a key has gone. Another one under its id does not stand for it. */
export function hasLost(before: readonly VerificationKey[], after: readonly VerificationKey[]): boolean {
  return !before.every((old) => after.some((key) => key.kid === old.kid && isSameKey(key, old)))
}

function isSameKey(one: VerificationKey, other: VerificationKey): boolean {
  return (
    one.algorithm === other.algorithm &&
    (one.key === other.key || KeyObject.from(one.key).equals(KeyObject.from(other.key)))
  )
}
