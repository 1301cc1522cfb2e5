import type { Duration } from '@quintet/core'
import { type Clock, option, readOptions, safeEqual } from '@quintet/core/kit'
import { hmac, secretKeyOption, type SecretInput } from '../secrets.ts'

export interface DpopNoncesOptions {
  /** One secret for all processes, e.g. `deriveSecrets(root).dpopNonce`. */
  readonly secret: SecretInput
  /** How long a nonce is accepted. @defaultValue `'5m'` */
  readonly lifetime?: Duration
  readonly clock?: Clock
}

/** Nonces for proofs of possession that need no store: a time and its MAC. */
export interface DpopNonces {
  issue(): string
  accepts(nonce: unknown): boolean
}

const spec = {
  secret: secretKeyOption(),
  lifetime: option.duration('5m'),
  clock: option.clock(),
}

/** Makes the nonces of a server. @see RFC 9449 section 8 */
export function createDpopNonces(options: DpopNoncesOptions): DpopNonces {
  const { secret, lifetime, clock } = readOptions<DpopNoncesOptions, typeof spec>(
    options,
    spec,
    'createDpopNonces',
  )
  const macOf = (time: string): string => hmac(secret, `nonce|${time}`).subarray(0, 16).toString('base64url')
  return {
    issue() {
      const time = Math.floor(clock.now()).toString(36)
      return `${time}.${macOf(time)}`
    },
    accepts(nonce) {
      if (typeof nonce !== 'string' || nonce.length > 64) return false
      const [time = '', mac = ''] = nonce.split('.')
      if (!safeEqual(mac, macOf(time))) return false
      const age = clock.now() - Number.parseInt(time, 36)
      return age >= -1_000 && age <= lifetime
    },
  }
}
