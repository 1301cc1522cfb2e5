import { createHmac, randomBytes } from 'node:crypto'
import { safeEqual } from '@quintet/core/kit'

/** Seconds for which a code stands. */
const period = 30
const digits = 6
/** The size of a secret in bytes, that of the hash (RFC 4226 section 4, R6). */
const secretSize = 20
/** RFC 4648 section 6. */
const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** Makes the secret of an authenticator app, in base32 as users may type it. */
export function createTotpSecret(): string {
  return encodeBase32(randomBytes(secretSize))
}

/** Bytes as base32 without padding. */
export function encodeBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return bits.replaceAll(/.{1,5}/g, (five) => base32[Number.parseInt(five.padEnd(5, '0'), 2)] ?? '')
}

/** The URI that authenticator apps read, e.g. from a QR code. */
export function totpUri(of: {
  readonly secret: string
  readonly issuer: string
  readonly account: string
}): string {
  const { secret, issuer, account } = of
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`
  return `otpauth://totp/${label}?secret=${secret}&issuer=${encodeURIComponent(issuer)}`
}

/**
 * The time-based one-time password of a moment.
 *
 * @see RFC 6238, RFC 4226
 */
export function totpCode(secret: string, at: number = Date.now()): string {
  return codeOf(decodeBase32(secret), Math.floor(at / 1_000 / period))
}

/**
 * The time step that a code is of: the present one, or one before or after it, since clocks differ. Undefined for a wrong code.
 * A code is good once: keep the step, and refuse one that is not after it.
 *
 * @see RFC 6238 section 5.2
 */
export function findTotpStep(secret: string, code: string, at: number = Date.now()): number | undefined {
  const key = decodeBase32(secret)
  const now = Math.floor(at / 1_000 / period)
  // All are compared, so that the time it takes does not tell which one it was.
  return [now, now - 1, now + 1].filter((step) => safeEqual(codeOf(key, step), code))[0]
}

function codeOf(key: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', key).update(counter).digest()
  const offset = (mac.at(-1) ?? 0) & 15
  const number = (mac.readUInt32BE(offset) & 0x7f_ff_ff_ff) % 10 ** digits
  return String(number).padStart(digits, '0')
}

/** @throws TypeError for what is no base32 of at least 128 bits. */
function decodeBase32(text: string): Buffer {
  if (!/^[A-Z2-7]{26,}$/.test(text))
    throw new TypeError('The secret is no base32 text of at least 26 characters.')
  const bits = Array.from(text, (letter) => base32.indexOf(letter).toString(2).padStart(5, '0')).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}
