import { hkdfSync } from 'node:crypto'
import { revealText, type SecretText } from './secret.ts'

/**
 * Derives a key from a secret with HKDF-SHA-256, under a label of its own: none can be computed from another.
 *
 * @param label what the key is for, with a version: `quintet/queue/envelope/v1`.
 * @see RFC 5869
 */
export function deriveKey(secret: SecretText | Uint8Array, label: string, length = 32): Buffer {
  const material = secret instanceof Uint8Array ? secret : Buffer.from(revealText(secret), 'utf8')
  return Buffer.from(hkdfSync('sha256', material, '', label, length))
}
