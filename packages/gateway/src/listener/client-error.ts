import type { Socket } from 'node:net'
import { statusOf, titleOf } from '@quintet/core/http'
import { GatewayError } from '../errors.ts'
import { problemBody } from '../exchange/send-problem.ts'
import { statuses } from '../options/statuses.ts'

/** How long a refused client may take to read its answer and close, before its connection is cut. */
const lingerMs = 1_000

/** Answers on a connection from which no further request is read, and closes it. */
export function refuseConnection(socket: Socket, reason: GatewayError, requestId: string): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const status = statusOf(reason, statuses)
  const body = problemBody(reason, requestId)
  socket.end(
    `HTTP/1.1 ${status} ${titleOf(status)}\r\n` +
      'connection: close\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${requestId}\r\n\r\n${body}`,
  )
  // What the client still sends is read and dropped: unread bytes would reset the connection and the answer with it.
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  const destroy = (): void => void socket.destroy()
  socket.once('end', destroy).once('close', () => clearTimeout(timer))
  socket.resume()
}

/** What a `clientError` of Node's HTTP parser means. */
export function explainClientError(error: NodeJS.ErrnoException): GatewayError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('ERR_GATEWAY_HEADERS_TOO_LARGE', 'The request line and headers are too large.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The request headers did not arrive in time.')
    default:
      return new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request is not valid HTTP/1.1.')
  }
}
