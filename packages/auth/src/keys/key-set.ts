import { readOptions } from '@quintet/core/kit'
import { algorithmsOption, type VerificationAlgorithm } from './algorithms.ts'
import { importVerificationKey, type Jwk } from './import-key.ts'
import type { VerificationKey, VerificationKeys } from './verification-keys.ts'

/** A JSON Web Key Set (RFC 7517 section 5). */
export interface JwkSet {
  readonly keys: readonly Jwk[]
}

export interface KeySetOptions {
  /** The algorithms to accept. @defaultValue `['Ed25519', 'ES256']` */
  readonly algorithms?: readonly VerificationAlgorithm[]
}

const spec = { algorithms: algorithmsOption() }

/**
 * Verification keys that are given, e.g. from configuration.
 *
 * @throws TypeError when a key is not usable, two have one id, or symmetric keys stand beside public ones.
 */
export async function keySet(set: JwkSet, options: KeySetOptions = {}): Promise<VerificationKeys> {
  const { algorithms } = readOptions<KeySetOptions, typeof spec>(options, spec, 'keySet')
  const keys = await importKeySet(set, algorithms, 'refuse')
  if (keys.size === 0) throw new TypeError('keySet: the set has no key.')
  return Object.freeze({ epoch: 0, find: async (kid: string) => keys.get(kid) })
}

/**
 * Imports a set as a whole: ids are distinct, and symmetric and public keys never mix. With
 * `unusable: 'skip'`, keys for other purposes are passed over, as RFC 7517 section 5 asks for foreign sets.
 */
export async function importKeySet(
  set: JwkSet,
  allowed: readonly VerificationAlgorithm[],
  unusable: 'refuse' | 'skip',
): Promise<ReadonlyMap<string, VerificationKey>> {
  if (typeof set !== 'object' || set === null || !Array.isArray(set.keys)) {
    throw new TypeError('keySet: a JSON Web Key Set has an array "keys".')
  }
  const jwks = set.keys as readonly Jwk[]
  const symmetric = jwks.filter((jwk) => jwk?.kty === 'oct').length
  if (symmetric > 0 && symmetric < jwks.length) {
    throw new TypeError('keySet: symmetric keys must not stand beside public keys.')
  }
  const keys = new Map<string, VerificationKey>()
  const seen = new Set<string>()
  for (const [index, jwk] of jwks.entries()) {
    if (typeof jwk?.kid === 'string') {
      if (seen.has(jwk.kid)) throw new TypeError(`keySet: two keys have the id of keys[${index}].`)
      seen.add(jwk.kid)
    }
    try {
      const key = await importVerificationKey(jwk, allowed)
      keys.set(key.kid, key)
    } catch (error) {
      if (unusable === 'refuse')
        throw new TypeError(`keySet: keys[${index}] ${(error as Error).message}.`, { cause: error })
    }
  }
  return keys
}
