import type { Duplex } from 'node:stream'
import { problemHeaders, titleOf, type Problem } from './problem.ts'

/** How long a client may take to read the answer and close, in milliseconds. */
const graceMs = 1_000

export interface RawResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/**
 * Answers on a socket that no HTTP server answers on, such as a refused upgrade or a request that could not be
 * parsed, and closes it. A socket that can no longer be written to is destroyed.
 */
export function writeRawResponse(socket: Duplex, { status, headers = {}, body = '' }: RawResponse): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const all = { connection: 'close', 'content-length': String(Buffer.byteLength(body)), ...headers }
  // A line break in a value would begin a header, or an answer, of the sender's own (response splitting).
  const lines = Object.entries(all).map(
    ([name, value]) => `${name}: ${value.replaceAll(/[\r\n\0]+/g, ' ')}\r\n`,
  )
  // A client that resets the connection meanwhile must not end the process.
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${titleOf(status)}\r\n${lines.join('')}\r\n${body}`)
  const timer = setTimeout(() => socket.destroy(), graceMs)
  socket.once('close', () => clearTimeout(timer))
}

/** Answers with a problem document as {@link writeRawResponse} does. A 401 needs a challenge among its headers (RFC 9110, section 11.6.1). */
export function writeRawProblem(
  socket: Duplex,
  problem: Problem,
  headers: Readonly<Record<string, string>> = {},
): void {
  writeRawResponse(socket, {
    status: problem.status,
    headers: {
      ...problemHeaders(problem),
      ...(problem.requestId === undefined ? {} : { 'x-request-id': problem.requestId }),
      ...headers,
    },
    body: JSON.stringify(problem),
  })
}
