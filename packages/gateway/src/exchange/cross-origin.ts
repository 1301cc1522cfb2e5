import type { IncomingMessage } from 'node:http'
import type { ResolvedCors } from '../options/cors-options.ts'

/**
 * CORS headers for an answer of the gateway's own, as flat name and value pairs: without them a page of another
 * origin sees a failed request instead of the reason.
 */
export function crossOriginHeaders(cors: ResolvedCors | undefined, request: IncomingMessage): string[] {
  if (!cors) return []
  const { origin } = request.headers
  const vary = cors.origins === '*' ? [] : ['vary', 'Origin']
  if (origin === undefined || (cors.origins !== '*' && !cors.origins.has(origin))) return vary
  const headers = ['access-control-allow-origin', cors.origins === '*' ? '*' : origin, ...vary]
  if (cors.credentials) headers.push('access-control-allow-credentials', 'true')
  if (!isPreflight(request)) {
    headers.push('access-control-expose-headers', 'retry-after, x-request-id')
    return headers
  }
  headers.push('access-control-allow-methods', String(request.headers['access-control-request-method']))
  const asked = request.headers['access-control-request-headers']
  if (typeof asked === 'string') headers.push('access-control-allow-headers', asked)
  return headers
}

/** A preflight that is refused would hide why: it passes, and the request itself gets the reason. */
export function passesPreflight(cors: ResolvedCors | undefined, request: IncomingMessage): boolean {
  const { origin } = request.headers
  if (!cors || origin === undefined || !isPreflight(request)) return false
  return cors.origins === '*' || cors.origins.has(origin)
}

function isPreflight(request: IncomingMessage): boolean {
  return request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined
}
