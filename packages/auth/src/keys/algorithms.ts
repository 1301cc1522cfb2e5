import { option, type Option } from '@quintet/core/kit'

/** The signature algorithms that this package issues with. */
export type SigningAlgorithm = 'Ed25519' | 'ES256' | 'HS256'

/** The signature algorithms that a verifier can be told to accept from a foreign issuer. */
export type VerificationAlgorithm =
  | SigningAlgorithm
  | 'ES384'
  | 'ES512'
  | 'HS384'
  | 'HS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'RS256'
  | 'RS384'
  | 'RS512'

export interface AlgorithmFacts {
  readonly kty: 'EC' | 'OKP' | 'RSA' | 'oct'
  readonly crv?: string
  /** The least size of a symmetric key, in bytes (RFC 7518 section 3.2). */
  readonly minBytes?: number
}

/** What a key must be to serve an algorithm. One key serves one algorithm (RFC 8725 section 3.1). */
export const algorithms: Readonly<Record<VerificationAlgorithm, AlgorithmFacts>> = Object.freeze({
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  ES512: { kty: 'EC', crv: 'P-521' },
  HS256: { kty: 'oct', minBytes: 32 },
  HS384: { kty: 'oct', minBytes: 48 },
  HS512: { kty: 'oct', minBytes: 64 },
  PS256: { kty: 'RSA' },
  PS384: { kty: 'RSA' },
  PS512: { kty: 'RSA' },
  RS256: { kty: 'RSA' },
  RS384: { kty: 'RSA' },
  RS512: { kty: 'RSA' },
})

/** What verifiers accept where they are told nothing else. */
export const defaultAlgorithms: readonly VerificationAlgorithm[] = Object.freeze(['Ed25519', 'ES256'])

/** The algorithms to accept, as an option. */
export function algorithmsOption(): Option<readonly VerificationAlgorithm[]> {
  const names = Object.keys(algorithms) as VerificationAlgorithm[]
  return option.list(option.oneOf(names), { min: 1 }).or(defaultAlgorithms)
}
