import type { Socket } from 'node:net'
import { statusOf, writeRawResponse } from '@quintet/core/http'
import { GatewayError } from '../errors.ts'
import { problemBody } from '../exchange/send-problem.ts'
import { statuses } from '../options/statuses.ts'

/** Answers on a connection from which no further request is read, and closes it. */
export function refuseConnection(socket: Socket, reason: GatewayError, requestId: string): void {
  writeRawResponse(socket, {
    status: statusOf(reason, statuses),
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-request-id': requestId,
    },
    body: problemBody(reason, requestId),
  })
  // What the client still sends is read and dropped: unread bytes would reset the connection and the answer with it.
  socket.once('end', () => socket.destroy()).resume()
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
