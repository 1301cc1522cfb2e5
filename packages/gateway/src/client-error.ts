import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { GatewayError } from './errors.ts'
import { problemBody } from './problem.ts'

/** Answers what could not be read as a request, and closes the connection. */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  requestId: string,
): GatewayError | undefined {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return undefined
  }
  const reason = explain(error)
  const body = problemBody(reason, requestId)
  socket.end(
    `HTTP/1.1 ${reason.status} ${STATUS_CODES[reason.status] ?? ''}\r\n` +
      'connection: close\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${requestId}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
  return reason
}

function explain(error: NodeJS.ErrnoException): GatewayError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('ERR_GATEWAY_HEADERS_TOO_LARGE', 'The request line and headers are too large.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The request headers did not arrive in time.')
    default:
      return new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request is not valid HTTP/1.1.', {
        cause: error,
      })
  }
}
