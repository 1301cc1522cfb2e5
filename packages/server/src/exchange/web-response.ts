import type { Writable } from 'node:stream'
import { isEventStream } from '@quintet/core/http'
import { serverError } from '../errors.ts'
import { chooseCoding, createCompressor, isCompressible } from '../request/content-coding.ts'
import { drained } from './drained.ts'
import type { Exchange } from './exchange.ts'

/** What belongs to the connection and not to the answer. @see RFC 9110 section 7.6.1 */
const connectionHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'trailer',
])

/**
 * Sends a Web `Response`: a short body in one piece, a long one as it comes, at the pace of the client.
 *
 * When the body breaks off, the connection is ended, so that the client does not take half for whole.
 */
export async function sendResponse(exchange: Exchange, answer: Response): Promise<void> {
  const { response, request } = exchange
  if (response.destroyed) {
    await answer.body?.cancel()
    return
  }
  const headers = collectHeaders(exchange, answer)
  if (isDecoded(answer)) for (const name of ['content-encoding', 'content-length']) dropHeader(headers, name)
  if (answer.body === null || request.method === 'HEAD') {
    await answer.body?.cancel()
    if (
      !answer.headers.has('content-length') &&
      answer.status !== 204 &&
      answer.status !== 304 &&
      answer.body === null
    ) {
      headers.push('content-length', '0')
    }
    response.writeHead(answer.status, headers)
    response.end()
    return
  }
  const reader = answer.body.getReader()
  const cancel = (): void => void reader.cancel().catch(() => {})
  response.once('close', cancel)
  const stop = (): void => {
    cancel()
    exchange.abort(serverError('ERR_SERVER_CLOSED', 'The server is about to stop.'))
  }
  // An event stream has no end of its own; its client connects again by itself. The handler is told by its signal.
  if (isEventStream(answer.headers.get('content-type'))) exchange.site.longAnswers.add(stop)
  try {
    await sendBody(exchange, answer, headers, reader)
  } catch (error) {
    if (response.headersSent) response.destroy()
    throw error
  } finally {
    response.off('close', cancel)
    // Also when the connection has been destroyed, and its close is still to come. After the end it does nothing.
    cancel()
    exchange.site.longAnswers.delete(stop)
  }
}

async function sendBody(
  exchange: Exchange,
  answer: Response,
  headers: string[],
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<void> {
  const { response } = exchange
  const first = await reader.read()
  const next = reader.read()
  // What fails later is thrown where it is awaited.
  next.catch(() => {})
  const second = await Promise.race([
    next,
    new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined))),
  ])
  const size = first.done ? 0 : first.value.length
  const whole = first.done || second?.done === true
  const sink = openSink(exchange, answer, headers, whole ? size : undefined)
  if (!first.done) await write(sink, response, first.value)
  if (!whole) {
    for (let piece = await next; !piece.done; piece = await reader.read()) {
      if (response.destroyed) return
      await write(sink, response, piece.value)
    }
  }
  sink.end()
}

/** Writes the head and says where the body goes: through a compressor, or straight to the client. */
function openSink(
  exchange: Exchange,
  answer: Response,
  headers: string[],
  size: number | undefined,
): Writable {
  const { response, request, site } = exchange
  const threshold = site.options.compression
  const type = answer.headers.get('content-type') ?? ''
  const asIs =
    indexOfHeader(headers, 'content-encoding') !== -1 ||
    /no-transform/i.test(answer.headers.get('cache-control') ?? '')
  if (threshold !== undefined && !asIs && (size === undefined || size >= threshold) && isCompressible(type)) {
    headers.push('vary', 'accept-encoding')
    const coding = answer.status === 206 ? undefined : chooseCoding(request.headers['accept-encoding'])
    if (coding !== undefined) {
      dropHeader(headers, 'content-length')
      headers.push('content-encoding', coding)
      weakenTag(headers)
      response.writeHead(answer.status, headers)
      const compressor = createCompressor(coding)
      compressor.on('error', () => response.destroy())
      compressor.pipe(response)
      return compressor
    }
  }
  if (size === undefined) response.strictContentLength = true
  else {
    dropHeader(headers, 'content-length')
    headers.push('content-length', String(size))
  }
  response.writeHead(answer.status, headers)
  return response
}

async function write(sink: Writable, client: Writable, piece: Uint8Array): Promise<void> {
  if (!sink.write(piece)) await drained(sink, client)
}

/** The answer's own headers, and those of every answer that it does not set itself. */
function collectHeaders(exchange: Exchange, answer: Response): string[] {
  const headers: string[] = []
  for (const [name, value] of answer.headers) {
    if (!connectionHeaders.has(name)) headers.push(name, value)
  }
  const common = exchange.headers()
  for (let index = 0; index < common.length; index += 2) {
    const name = common[index] ?? ''
    if (name === 'vary' || !answer.headers.has(name)) headers.push(name, common[index + 1] ?? '')
  }
  return headers
}

/** What `fetch` decodes; the headers of its answers go on to name it, and the length of what was sent. */
const decoded = /^(?:x-)?gzip$|^deflate$|^br$|^zstd$/i

/** Whether a body came decoded out of `fetch`: a handler passes the answer of another server on. Only such a one has a URL. */
function isDecoded({ url, body, headers }: Response): boolean {
  const coding = headers.get('content-encoding')
  return url !== '' && body !== null && coding !== null && decoded.test(coding)
}

function dropHeader(headers: string[], name: string): void {
  const index = indexOfHeader(headers, name)
  if (index !== -1) headers.splice(index, 2)
}

/** The place of a name in a flat list, where a value may be the same text. */
function indexOfHeader(headers: readonly string[], name: string): number {
  return headers.findIndex((text, index) => index % 2 === 0 && text === name)
}

/** The same strong tag must not stand for different bytes (RFC 9110, section 8.8.1). */
function weakenTag(headers: string[]): void {
  const index = indexOfHeader(headers, 'etag')
  const tag = headers[index + 1]
  if (index !== -1 && tag?.startsWith('"') === true) headers[index + 1] = `W/${tag}`
}
