import { hash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import type { KeyRing } from './key-ring.ts'

/** What to answer at `/.well-known/jwks.json`. */
export interface JwksAnswer {
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

export interface JwksAnswerOptions {
  /** How long the set may be cached; shorter than `prepublish` of the ring. @defaultValue `'5m'` */
  readonly maxAge?: Duration
}

const spec = { maxAge: option.duration('5m') }

/** The public keys of a ring with the headers to cache them by. @see RFC 7517 section 8.5 */
export function jwksAnswer(ring: KeyRing, options: JwksAnswerOptions = {}): JwksAnswer {
  const { maxAge } = readOptions<JwksAnswerOptions, typeof spec>(options, spec, 'jwksAnswer')
  const seconds = Math.floor(maxAge / 1_000)
  const body = JSON.stringify(ring.jwks())
  return {
    body,
    headers: {
      'content-type': 'application/jwk-set+json',
      'cache-control': `public, max-age=${seconds}`,
      etag: `"${hash('sha256', body, 'base64url').slice(0, 22)}"`,
      'access-control-allow-origin': '*',
      'x-content-type-options': 'nosniff',
    },
  }
}

/** Answers a request for the JWKS, with 304 where the client has it already, and 405 to anything but GET and HEAD. */
export function serveJwks(ring: KeyRing, request: Request, options: JwksAnswerOptions = {}): Response {
  const { body, headers } = jwksAnswer(ring, options)
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return new Response(null, { status: 405, headers: { allow: 'GET, HEAD' } })
  if (request.headers.get('if-none-match') === headers['etag'])
    return new Response(null, { status: 304, headers })
  return new Response(request.method === 'HEAD' ? null : body, { status: 200, headers })
}
