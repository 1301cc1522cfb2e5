import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorKind, QuintetError } from '@quintet/core'
import { type Credentials, noCredentials } from '@quintet/core/kit'
import { RealtimeError } from '../errors.ts'
import { realtimeProtocolName } from '../wire/messages.ts'

const statuses: Readonly<Partial<Record<ErrorKind, number>>> = {
  'invalid-input': 400,
  unauthenticated: 401,
  forbidden: 403,
  'rate-limited': 429,
  timeout: 503,
  unavailable: 503,
  closed: 503,
}

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
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((entry) => entry.trim())
  if (!offered.includes(realtimeProtocolName)) {
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', `Offer the subprotocol ${realtimeProtocolName}.`)
  }
  const entries = offered.filter((entry) => entry.startsWith('bearer.'))
  if (entries.length + (authorization === undefined ? 0 : 1) > 1) {
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The token is given more than once.')
  }
  if (authorization !== undefined) {
    const token = /^bearer +([\w\-.~+/]+=*)$/i.exec(authorization)?.[1]
    if (token === undefined)
      throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The Authorization header holds no bearer token.')
    return { scheme: 'bearer', token }
  }
  const token = entries[0]?.slice('bearer.'.length)
  return token === undefined ? noCredentials : { scheme: 'bearer', token }
}

/** Answers a handshake in plain HTTP, before any upgrade. */
export function refuseHandshake(socket: Duplex, error: QuintetError): void {
  const status = statuses[error.kind] ?? 500
  const detail = error.kind === 'internal' ? 'Something failed on our side.' : error.message
  const body = JSON.stringify({
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    detail,
    code: error.code,
  })
  const headers = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...(status === 401 ? ['www-authenticate: Bearer'] : []),
    ...(error.retryAfter === undefined ? [] : [`retry-after: ${Math.ceil(error.retryAfter / 1_000)}`]),
  ]
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}
