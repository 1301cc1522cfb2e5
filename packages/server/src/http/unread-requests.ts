import { writeRawProblem } from '@quintet/core/http'
import { toQuintetError } from '@quintet/core/kit'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Server } from 'node:http'
import { serverError } from '../errors.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { toProblem } from '../problem.ts'

/** The last exchange that began on each connection; those before it are answered first. */
export type LastExchanges = WeakMap<Duplex, Exchange>

/** Calls back when all requests that came on a connection before have been answered. */
export function afterAnswers(last: LastExchanges, socket: Duplex, run: () => void): void {
  const response = last.get(socket)?.response
  if (response === undefined || response.closed) run()
  else response.once('close', run)
}

/**
 * Answers what is no request that could be served: bytes that Node's parser cannot read, and CONNECT. Requests before
 * it on the same connection get their answers first; then the connection ends.
 */
export function refuseUnreadRequests(server: Server, last: LastExchanges): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const refused = describeParserError(error.code)
    const exchange = last.get(socket)
    // The body of this very request is what cannot be read, or will not come.
    if (exchange !== undefined && !exchange.request.complete && !exchange.response.writableEnded)
      exchange.breakOff(error.code === 'HPE_INVALID_EOF_STATE' ? uploadCanceled() : refused)
    else afterAnswers(last, socket, () => refuse(socket, refused))
  })
  server.on('connect', (_request, socket) => {
    socket.on('error', ignore)
    const refused = serverError('ERR_SERVER_METHOD_UNKNOWN', 'The method CONNECT is not served.')
    afterAnswers(last, socket, () => refuse(socket, refused))
  })
}

/** What the client still sends is read away, so that it gets the answer. */
function refuse(socket: Duplex, error: Error): void {
  writeRawProblem(socket, toProblem(error))
  socket.resume()
}

/** The client has ended its side of the connection in the middle of a body. */
function uploadCanceled(): Error {
  return toQuintetError(new DOMException('The client went away before its body was complete.', 'AbortError'))
}

function describeParserError(code: string | undefined): Error {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return serverError('ERR_SERVER_HEADERS_TOO_LARGE', 'The headers of the request are too large.')
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return serverError('ERR_SERVER_REQUEST_TIMEOUT', 'The headers of the request took too long to arrive.')
  }
  return serverError('ERR_SERVER_BAD_REQUEST', 'This is not a well-formed HTTP request.')
}

function ignore(): void {}
