import { createHmac, randomBytes } from 'node:crypto'
import { deriveKey, safeEqual } from '@quintet/core/kit'

/** Which version of the frames both sides speak. */
export const linkVersion = 2

/** Who a side of a link says it is. */
export interface LinkIdentity {
  readonly system: string
  readonly process: string
  readonly instance: number
}

export function makeNonce(): string {
  return randomBytes(32).toString('base64url')
}

/** The key of all links of a deployment; the secret itself signs nothing. */
export function deriveLinkKey(secret: string | Uint8Array, path: string): Buffer {
  const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret
  if (!(bytes instanceof Uint8Array) || bytes.byteLength < 16)
    throw new TypeError(`${path}: is shorter than 16 bytes. Give a random one of at least 32.`)
  return deriveKey(bytes, 'quintet/link/v1')
}

/**
 * Proves that a side knows the key, for these two nonces, in this role, as this process. Both sides prove
 * it, so that neither talks to a stranger who put a socket in the folder.
 */
export function proveKey(
  key: Buffer,
  role: 'caller' | 'callee',
  nonces: { readonly caller: string; readonly callee: string },
  identity: LinkIdentity,
): string {
  const said = JSON.stringify([
    linkVersion,
    role,
    nonces.caller,
    nonces.callee,
    identity.system,
    identity.process,
    identity.instance,
  ])
  return createHmac('sha256', key).update(said).digest('base64url')
}

export function isSameProof(given: unknown, expected: string): boolean {
  return typeof given === 'string' && safeEqual(given, expected)
}
