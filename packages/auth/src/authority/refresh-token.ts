import { hash, randomBytes, type KeyObject } from 'node:crypto'
import { safeEqual } from '@quintet/core/kit'
import { Refusal } from '../errors.ts'
import { hmac, secretKey, type AuthSecrets } from '../secrets.ts'
import { escapeId, isSessionId, unescapeId, type SessionRef } from '../sessions/session-keys.ts'

/** What a refresh token says, once its MAC has proved that it is ours. */
export interface RefreshToken extends SessionRef {
  readonly generation: number
  readonly refreshId: string
  /** base64url of 32 bytes. */
  readonly secret: string
}

/** The longest refresh token that is looked at, in characters. */
export const maxRefreshTokenLength = 2_048

const version = 'v1'
const macBytes = 16
const part = /^[A-Za-z0-9_-]+$/

type RefreshSecrets = Pick<AuthSecrets, 'refreshMac' | 'refreshNext'>

/** Makes, reads and follows refresh tokens: `v1~tid~uid~sid~gen~rtid~secret~mac`. */
export class RefreshTokenCodec {
  /** The present key first, then the previous ones. */
  readonly #macs: readonly KeyObject[]
  readonly #nexts: readonly KeyObject[]

  constructor(secrets: RefreshSecrets & { readonly previous?: readonly RefreshSecrets[] }, path: string) {
    const all = [secrets, ...(secrets.previous ?? [])]
    this.#macs = all.map(({ refreshMac }) => secretKey(refreshMac, `${path}.refreshMac`))
    this.#nexts = all.map(({ refreshNext }) => secretKey(refreshNext, `${path}.refreshNext`))
  }

  /** The first token of a session. */
  first(ref: SessionRef): RefreshToken {
    return { ...ref, generation: 1, refreshId: newRefreshId(), secret: randomBytes(32).toString('base64url') }
  }

  /**
   * The token after this one under the given id. Whoever presents the same token gets the same successor, so
   * tabs that refresh at once agree, and nothing readable has to be stored for them.
   */
  successor(token: RefreshToken, refreshId: string): RefreshToken {
    return this.#successor(token, refreshId, this.#nexts[0] as KeyObject)
  }

  /** The same under each secret, the present one first: one that is told again may be from before a rotation. */
  successors(token: RefreshToken, refreshId: string): readonly RefreshToken[] {
    return this.#nexts.map((key) => this.#successor(token, refreshId, key))
  }

  #successor(token: RefreshToken, refreshId: string, key: KeyObject): RefreshToken {
    const secret = hmac(key, `${token.sessionId}|${refreshId}|${token.secret}`).toString('base64url')
    return { ...token, generation: token.generation + 1, refreshId, secret }
  }

  format(token: RefreshToken): string {
    const body = [
      version,
      escapeId(token.tenantId),
      escapeId(token.userId),
      token.sessionId,
      token.generation,
      token.refreshId,
      token.secret,
    ].join('~')
    return `${body}~${macOf(this.#macs[0] as KeyObject, body).toString('base64url')}`
  }

  /**
   * Reads a token that a client presents.
   *
   * @throws Refusal when it is not one of ours. Such a token must change nothing: session ids are not secret.
   */
  parse(text: unknown): RefreshToken {
    if (typeof text !== 'string' || text.length > maxRefreshTokenLength) {
      throw new Refusal('The refresh token is not text of acceptable length.')
    }
    const parts = text.split('~')
    const [v, tid, uid, sessionId, gen, refreshId, secret, mac] = parts
    if (parts.length !== 8 || v !== version) throw new Refusal('The refresh token has another form.')
    const body = text.slice(0, text.lastIndexOf('~'))
    const given = Buffer.from(mac ?? '', 'base64url')
    if (given.length !== macBytes || given.toString('base64url') !== mac) {
      throw new Refusal('The MAC of the refresh token is malformed.')
    }
    if (!this.#macs.some((key) => safeEqual(given, macOf(key, body))))
      throw new Refusal('The refresh token is not one of ours.')
    const tenantId = unescapeId(tid ?? '')
    const userId = unescapeId(uid ?? '')
    const generation = Number(gen)
    if (
      tenantId === undefined ||
      userId === undefined ||
      !Number.isSafeInteger(generation) ||
      !isSessionId(sessionId) ||
      ![refreshId, secret].every((each) => each !== undefined && part.test(each))
    ) {
      throw new Refusal('The refresh token has a part that cannot be read.')
    }
    return { tenantId, userId, sessionId, generation, refreshId, secret } as RefreshToken
  }
}

function macOf(key: KeyObject, body: string): Buffer {
  return hmac(key, body).subarray(0, macBytes)
}

/** The id of the session that a refresh token names, before anything of it is verified; empty when it has none. */
export function sessionIdOf(text: string): string {
  return text.split('~', 5)[3] ?? ''
}

/** The generation that a refresh token names, before anything of it is verified; 0 when it has none. */
export function generationOf(text: string): number {
  return Number(text.split('~', 6)[4]) || 0
}

export function newRefreshId(): string {
  return randomBytes(12).toString('base64url')
}

/** What is stored of a refresh token's secret. 256 random bits need no slow hash. */
export function hashSecret(secret: string): string {
  return hash('sha256', secret, 'base64url')
}
