import type { IncomingMessage } from 'node:http'
import type { Challenge } from '@quintet/core/http'
import { type Credentials, noCredentials, type Pipeline, toQuintetError } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

const tokenPattern = /^[\w\-.~+/]+=*$/

/**
 * Takes the credentials of a request out of its `Authorization` header, and of `DPoP` beside it. It verifies nothing.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST` when they are malformed, `ERR_SERVER_SCHEME_UNSUPPORTED`
 *   for a scheme that is neither Bearer nor DPoP.
 * @see RFC 6750 section 2.1, RFC 9449 section 7.1
 */
export function credentialsOf(request: IncomingMessage, proxies: TrustedProxies): Credentials {
  const { authorization } = request.headers
  if (authorization === undefined) return noCredentials
  const space = authorization.indexOf(' ')
  const scheme = (space === -1 ? authorization : authorization.slice(0, space)).toLowerCase()
  if (scheme !== 'bearer' && scheme !== 'dpop') {
    throw serverError(
      'ERR_SERVER_SCHEME_UNSUPPORTED',
      'The Authorization header must be of the scheme Bearer or DPoP.',
    )
  }
  const token = space === -1 ? '' : authorization.slice(space + 1).trim()
  if (!tokenPattern.test(token)) throw malformed('The Authorization header holds no well-formed token.')
  if (scheme === 'bearer') return { scheme: 'bearer', token }
  const proof = request.headers['dpop']
  // Node joins repeated headers with a comma, which no proof contains.
  if (typeof proof !== 'string' || !tokenPattern.test(proof))
    throw malformed('A DPoP token needs exactly one DPoP header.')
  const [path = '/'] = (request.url ?? '/').split('?', 1)
  return {
    scheme: 'dpop',
    token,
    proof,
    method: request.method ?? 'GET',
    url: `${proxies.origin(request)}${proxies.prefix(request)}${path}`,
  }
}

/** True for a client that authenticates with an id and a secret: what a public route makes of it is its own business (RFC 6749 section 2.3.1). */
export function isBasic({ headers: { authorization } }: IncomingMessage): boolean {
  return /^basic /i.test(authorization ?? '')
}

/** The scheme in which a request gives its credentials, be they well-formed or not. */
export function presentedScheme({ headers: { authorization } }: IncomingMessage): Credentials['scheme'] {
  if (authorization === undefined) return 'none'
  return /^dpop /i.test(authorization) ? 'dpop' : 'bearer'
}

/** The challenge for whatever was thrown; empty where other credentials would not help. */
export function challengeOf(
  pipeline: Pipeline,
  thrown: unknown,
  presented: Credentials['scheme'],
): Challenge {
  const error = toQuintetError(thrown)
  if (error.kind !== 'unauthenticated' && error.kind !== 'forbidden') return {}
  return pipeline.challenge(error, presented)
}

function malformed(message: string): Error {
  return serverError('ERR_SERVER_BAD_REQUEST', message)
}
