import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { bearerChallenge, offeredProtocols, toProblem, writeRawProblem } from '@quintet/core/http'
import { type Credentials, noCredentials, toQuintetError } from '@quintet/core/kit'
import { RealtimeError } from '../errors.ts'
import { realtimeProtocolName } from '../wire/messages.ts'

/**
 * Reads a handshake: that it speaks the protocol, comes from an allowed origin, and with which credentials. A browser can
 * set no header and gives its token as the subprotocol entry `bearer.<token>`, which is never echoed.
 *
 * @throws RealtimeError `ERR_REALTIME_FORBIDDEN`, `ERR_REALTIME_BAD_MESSAGE`
 */
export function readHandshake({ headers }: IncomingMessage, origins: readonly string[]): Credentials {
  const { origin, authorization } = headers
  if (origin !== undefined && !origins.includes(origin)) {
    throw new RealtimeError('ERR_REALTIME_FORBIDDEN', 'This origin may not connect.')
  }
  const { names, tokens } = offeredProtocols(headers['sec-websocket-protocol'])
  if (!names.includes(realtimeProtocolName)) {
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', `Offer the subprotocol ${realtimeProtocolName}.`)
  }
  if (tokens.length + (authorization === undefined ? 0 : 1) > 1) {
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The token is given more than once.')
  }
  if (authorization !== undefined) {
    const token = /^bearer +([\w\-.~+/]+=*)$/i.exec(authorization)?.[1]
    if (token === undefined)
      throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The Authorization header holds no bearer token.')
    return { scheme: 'bearer', token }
  }
  const [token] = tokens
  return token === undefined ? noCredentials : { scheme: 'bearer', token }
}

/** Answers a handshake in plain HTTP, before any upgrade. */
export function refuseHandshake(socket: Duplex, thrown: unknown): void {
  const error = toQuintetError(thrown)
  writeRawProblem(socket, toProblem(error), bearerChallenge(error, 'none'))
}
