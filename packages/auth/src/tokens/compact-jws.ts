import { parseStrictJson } from '@quintet/core/kit'
import { Refusal } from '../errors.ts'
import { isKeyId } from '../keys/import-key.ts'

/** The longest token that is looked at, in characters. */
export const maxTokenLength = 8_192

/** Three parts that are not empty, in the alphabet of base64url and nothing else. */
const shape = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/** A JWS in compact serialization whose form is right; nothing about it is verified. */
export interface CompactJws {
  readonly header: Readonly<Record<string, unknown>>
  /** The header's `alg`, for comparison with that of the key, never to choose one. */
  readonly alg: string
  readonly payload: Buffer
}

export interface ParseCompactJwsOptions {
  /** Header members that may stand beside `alg`, `kid` and `typ`. @defaultValue none */
  readonly members?: readonly string[]
  /** @defaultValue 8192 */
  readonly maxLength?: number
}

const plainMembers: ReadonlySet<string> = new Set(['alg', 'kid', 'typ', 'cty'])

/**
 * Takes a compact JWS apart more strictly than a JOSE library does: length first, then the alphabet, canonical
 * base64url, a header without duplicate members and without any member that could redirect or reinterpret the
 * check (`jku`, `x5u`, `jwk`, `crit`, `b64`, `zip` and all others unknown).
 *
 * @throws Refusal with the reason, for operators.
 * @see RFC 8725, RFC 7515
 */
export function parseCompactJws(token: unknown, options: ParseCompactJwsOptions = {}): CompactJws {
  if (typeof token !== 'string') throw new Refusal('The token is not text.')
  if (token.length > (options.maxLength ?? maxTokenLength)) throw new Refusal('The token is too long.')
  if (!shape.test(token)) throw new Refusal('The token is not a JWS in compact serialization.')
  const [first = '', second = '', third = ''] = token.split('.')
  const header = parseJsonObject(decodeCanonical(first), 'header')
  for (const member of Object.keys(header)) {
    if (!plainMembers.has(member) && !options.members?.includes(member)) {
      throw new Refusal('The header has a member that is not accepted.')
    }
  }
  const { alg } = header
  if (typeof alg !== 'string' || alg === '') throw new Refusal('The header names no algorithm.')
  const payload = decodeCanonical(second)
  decodeCanonical(third)
  return { header, alg, payload }
}

/**
 * Reads a part of a token as one JSON object, which no two parsers can read as two things.
 *
 * @param what names the part in the refusal.
 * @throws Refusal
 */
export function parseJsonObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  try {
    return parseStrictJson(bytes, { object: true })
  } catch (error) {
    throw new Refusal(`The ${what} ${error instanceof Error ? error.message : 'is not JSON'}.`, {
      cause: error,
    })
  }
}

/** The `kid` of a header. @throws Refusal when it is missing or is not a plain text. */
export function keyIdOf({ header }: CompactJws): string {
  if (isKeyId(header['kid'])) return header['kid']
  throw new Refusal('The header has no usable key id.')
}

/** Decodes base64url that has exactly one spelling: no padding, no stray bits in the last character. */
function decodeCanonical(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text)
    throw new Refusal('A part of the token is not canonical base64url.')
  return bytes
}
