import { type Credentials, noCredentials } from '@quintet/core/kit'
import { AuthError } from '../errors.ts'
import type { RequestFacts } from './request-facts.ts'
import type { SessionCookies } from './session-cookies.ts'

/** Credentials of another scheme, e.g. Basic, which a browser sends along to a site behind it: they are not for us. */
const otherScheme = /^(?!(?:Bearer|DPoP) )[A-Za-z][A-Za-z0-9-]* +\S+$/i
const authorization = /^(Bearer|DPoP) +([A-Za-z0-9._~+/-]+=*)$/i
/** The subprotocol entry in which a page can hand over a token, since it can set no header on a WebSocket. */
const bearerProtocol = 'bearer.'

/** Credentials, and whether they came in a cookie: then other sites can make a browser send them. */
export interface FoundCredentials {
  readonly credentials: Credentials
  readonly fromCookie: boolean
}

/**
 * Finds the credentials of a request, in one place alone. Never in the query, where they end in logs.
 *
 * @throws AuthError `ERR_AUTH_CREDENTIALS_AMBIGUOUS` or `ERR_AUTH_CREDENTIALS_MALFORMED`
 */
export function readCredentials(
  request: RequestFacts,
  cookies: SessionCookies | undefined,
): FoundCredentials {
  const headers = request.header('authorization').filter((header) => !otherScheme.test(header))
  const offered = request.upgrade ? offeredTokens(request) : []
  const cookie = cookies?.accessToken(request)
  const places = headers.length + offered.length + (cookie === undefined || cookie === '' ? 0 : 1)
  if (places > 1) throw new AuthError('ERR_AUTH_CREDENTIALS_AMBIGUOUS')
  const [header] = headers
  if (header !== undefined) return { credentials: fromHeader(header, request), fromCookie: false }
  const [token] = offered
  if (token !== undefined) return { credentials: { scheme: 'bearer', token }, fromCookie: false }
  if (cookie) return { credentials: { scheme: 'bearer', token: cookie }, fromCookie: true }
  return { credentials: noCredentials, fromCookie: false }
}

function fromHeader(header: string, request: RequestFacts): Credentials {
  // A list of two is how some servers show two headers.
  if (/,\s*(Bearer|DPoP)\s/i.test(header)) throw new AuthError('ERR_AUTH_CREDENTIALS_AMBIGUOUS')
  const [, scheme = '', token = ''] = authorization.exec(header) ?? []
  if (token === '') throw new AuthError('ERR_AUTH_CREDENTIALS_MALFORMED')
  const proofs = request.header('dpop')
  if (scheme.toLowerCase() === 'bearer') return { scheme: 'bearer', token }
  const [proof] = proofs
  if (proofs.length > 1 || proof?.includes(',')) throw new AuthError('ERR_AUTH_CREDENTIALS_AMBIGUOUS')
  if (proof === undefined) throw new AuthError('ERR_AUTH_DPOP_INVALID')
  return { scheme: 'dpop', token, proof, method: request.method, url: request.url }
}

function offeredTokens(request: RequestFacts): readonly string[] {
  return request
    .header('sec-websocket-protocol')
    .flatMap((line) => line.split(','))
    .map((entry) => entry.trim())
    .filter((entry) => entry.startsWith(bearerProtocol))
    .map((entry) => entry.slice(bearerProtocol.length))
}
