import { createPrivateKey, hkdfSync, type JsonWebKey } from 'node:crypto'
import type { Secret } from '@quintet/core'

/** PKCS #8 (RFC 8410) around the 32 bytes of an Ed25519 private key. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * The private signing key as a JWK, derived from the root secret: the same after every restart and in every
 * instance, and stored nowhere.
 */
export function deriveSigningKey(root: Secret): JsonWebKey {
  const seed = Buffer.from(hkdfSync('sha256', root.reveal(), '', 'example-auth/ed25519/v1', 32))
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' })
  return key.export({ format: 'jwk' })
}
