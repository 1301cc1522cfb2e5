import type { OfferedProtocols } from '@quintet/core/http'
import type { IncomingMessage } from 'node:http'
import type { Credentials } from '@quintet/core/kit'
import { credentialsOf } from '../request/credentials.ts'
import type { TrustedProxies } from '../request/trusted-proxies.ts'
import { serverError } from '../errors.ts'

const tokenPattern = /^[\w\-.~+]+$/

/**
 * The credentials of a handshake: in the `Authorization` header or in a subprotocol entry, not in both.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST`, `ERR_SERVER_SCHEME_UNSUPPORTED`.
 */
export function handshakeCredentials(
  request: IncomingMessage,
  { tokens }: OfferedProtocols,
  proxies: TrustedProxies,
): Credentials {
  const [token, ...others] = tokens
  if (others.length > 0)
    throw serverError('ERR_SERVER_BAD_REQUEST', 'There is more than one bearer entry among the subprotocols.')
  if (token === undefined) return credentialsOf(request, proxies)
  if (request.headers.authorization !== undefined) {
    throw serverError('ERR_SERVER_BAD_REQUEST', 'The token is given both as a header and as a subprotocol.')
  }
  if (!tokenPattern.test(token))
    throw serverError('ERR_SERVER_BAD_REQUEST', 'The bearer entry holds no well-formed token.')
  return { scheme: 'bearer', token }
}
