import type { IncomingMessage } from 'node:http'
import { serverError } from '../errors.ts'
import type { BodyWatch, WatchedBody } from './body-watch.ts'

/** The length that a request declares; undefined when it is sent in chunks, 0 when there is no body. */
export function declaredLength(request: IncomingMessage): number | undefined {
  const length = request.headers['content-length']
  if (length !== undefined) return Number(length)
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined
}

/**
 * Reads a whole body, at most `limit` bytes of it; at once where it has arrived already, as during an authentication.
 *
 * @throws QuintetError `ERR_SERVER_TOO_LARGE`, `ERR_SERVER_REQUEST_TIMEOUT`; an `AbortError` when the client has gone.
 */
export function readBody(
  request: IncomingMessage,
  limit: number,
  watch: BodyWatch,
  timeout: number,
): Buffer | Promise<Buffer> {
  const declared = declaredLength(request)
  if (declared !== undefined && declared > limit) throw tooLarge(limit)
  if (request.destroyed) throw new DOMException('The client went away.', 'AbortError')
  if (request.complete) return readArrived(request, limit)
  return new Promise((resolve, reject) => {
    let first: Buffer | undefined
    let rest: Buffer[] | undefined
    let size = 0
    const fail = (error: Error): void => {
      watched.unwatch()
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      reject(error)
    }
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      watched.progress(chunk.length)
      if (size > limit) {
        request.pause()
        fail(tooLarge(limit))
      } else if (first === undefined) first = chunk
      else (rest ??= [first]).push(chunk)
    }
    // The listeners go with the request, which has no more to tell; taking them off would cost more than they do.
    const onEnd = (): void => {
      watched.unwatch()
      resolve(rest === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(rest, size))
    }
    const onClose = (): void => {
      if (!request.readableEnded) fail(new DOMException('The client went away.', 'AbortError'))
    }
    request.on('data', onData).on('end', onEnd).on('close', onClose)
    const watched: WatchedBody = watch.watch(request, { total: timeout, still: 0, pace: 0 }, () => {
      fail(serverError('ERR_SERVER_REQUEST_TIMEOUT', 'The body of the request took too long to arrive.'))
    })
  })
}

function readArrived(request: IncomingMessage, limit: number): Buffer {
  const body = (request.read() as Buffer | null) ?? Buffer.alloc(0)
  if (body.length > limit) throw tooLarge(limit)
  return body
}

export function tooLarge(limit: number): Error {
  return serverError(
    'ERR_SERVER_TOO_LARGE',
    `The body of the request is larger than ${String(limit)} bytes.`,
    {
      details: { limit },
    },
  )
}
