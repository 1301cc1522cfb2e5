import type { IncomingMessage } from 'node:http'
import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'

export interface CorsOptions {
  /** Exact origins, e.g. `https://app.example`; or `'*'` alone for every page, which is refused with `credentials`. */
  readonly origins: readonly string[]
  /** Let pages send cookies. @defaultValue false */
  readonly credentials?: boolean
  /** How long a browser may keep the answer to its preflight. @defaultValue `'10m'` */
  readonly maxAge?: Duration
}

/** Decides about the origin of a request. */
export interface Cors {
  /** Whether the origin of a request may read its answer. */
  allows(request: IncomingMessage): boolean
  /** The headers for an answer to this request; empty when its origin may not read it. */
  headers(request: IncomingMessage): readonly string[]
  /** What the answer to a preflight carries besides; undefined when the origin may not call. */
  preflight(request: IncomingMessage): readonly string[] | undefined
}

const exposed = 'x-request-id, retry-after, www-authenticate, dpop-nonce'

const spec = {
  origins: option.list(option.text()),
  credentials: option.boolean(false),
  maxAge: option.delay('10m'),
}

/** @throws TypeError when the allow-list is not one. */
export function resolveCors(options: unknown, path: string): Cors | undefined {
  if (options === false) return undefined
  const isList = Array.isArray(options)
  if (!isList && (typeof options !== 'object' || options === null || !('origins' in options))) {
    throw new TypeError(
      `${path}: ${JSON.stringify(options)} is not an allow-list. Give the origins that may call, e.g. ['https://app.example'], or false.`,
    )
  }
  const given = readOptions(isList ? { origins: options as string[] } : (options as CorsOptions), spec, path)
  const { credentials } = given
  const any = given.origins.includes('*')
  if (any && (credentials || given.origins.length > 1)) {
    throw new TypeError(
      `${path}: '*' stands alone and without credentials. Name the origins that may call with cookies.`,
    )
  }
  const list = isList ? path : `${path}.origins`
  const allowed = new Set(
    any ? [] : given.origins.map((origin, index) => parseOrigin(origin, `${list}[${index}]`)),
  )
  const maxAge = Math.floor(given.maxAge / 1_000)

  const allows = ({ headers: { origin } }: IncomingMessage): boolean =>
    origin !== undefined && (any || allowed.has(origin))
  const headers = (request: IncomingMessage): string[] => {
    const { origin } = request.headers
    if (any) return ['access-control-allow-origin', '*', 'access-control-expose-headers', exposed]
    if (origin === undefined || !allowed.has(origin)) return ['vary', 'origin']
    return [
      ...['vary', 'origin', 'access-control-allow-origin', origin, 'access-control-expose-headers', exposed],
      ...(credentials ? ['access-control-allow-credentials', 'true'] : []),
    ]
  }
  return {
    allows,
    headers,
    preflight(request) {
      if (!allows(request)) return undefined
      const wanted = request.headers['access-control-request-headers']
      return [
        'access-control-allow-methods',
        'GET, HEAD, POST, PUT, PATCH, DELETE',
        ...(typeof wanted === 'string' && /^[\w\-, ]{1,1000}$/.test(wanted)
          ? ['access-control-allow-headers', wanted]
          : []),
        'access-control-max-age',
        String(maxAge),
      ]
    },
  }
}

/** @throws TypeError when the text is not an origin as browsers send it. */
export function parseOrigin(text: unknown, path: string): string {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && url.origin === text) return text
  throw new TypeError(
    `${path}: ${JSON.stringify(text)} is not an origin. Give scheme, host and port as browsers send them, e.g. 'https://app.example'.`,
  )
}
