import type { IncomingMessage } from 'node:http'
import type { Credentials } from '@quintet/core/kit'
import { credentialsOf } from '../request/credentials.ts'
import { parseTrustedProxies } from '../request/trusted-proxies.ts'
import { serverError } from '../errors.ts'

const prefix = 'bearer.'
const tokenPattern = /^[\w\-.~+]+$/
const noProxies = parseTrustedProxies([])

/** What a client offers in `Sec-WebSocket-Protocol`. */
export interface OfferedProtocols {
  /** The protocols that it speaks, the one it likes most first. */
  readonly names: readonly string[]
  /** The token of a browser, which can set no other header: an entry `bearer.<token>`. It is never echoed. */
  readonly token: string | undefined
}

export function offeredProtocols(request: IncomingMessage): OfferedProtocols {
  const entries = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  const tokens = entries.filter((entry) => entry.startsWith(prefix))
  if (tokens.length > 1)
    throw serverError('ERR_SERVER_BAD_REQUEST', 'There is more than one bearer entry among the subprotocols.')
  return {
    names: entries.filter((entry) => !entry.startsWith(prefix)),
    token: tokens[0]?.slice(prefix.length),
  }
}

/**
 * The credentials of a handshake: in the `Authorization` header or in a subprotocol entry, not in both.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST`, `ERR_SERVER_SCHEME_UNSUPPORTED`.
 */
export function handshakeCredentials(request: IncomingMessage, { token }: OfferedProtocols): Credentials {
  if (token === undefined) return credentialsOf(request, noProxies)
  if (request.headers.authorization !== undefined) {
    throw serverError('ERR_SERVER_BAD_REQUEST', 'The token is given both as a header and as a subprotocol.')
  }
  if (!tokenPattern.test(token))
    throw serverError('ERR_SERVER_BAD_REQUEST', 'The bearer entry holds no well-formed token.')
  return { scheme: 'bearer', token }
}
