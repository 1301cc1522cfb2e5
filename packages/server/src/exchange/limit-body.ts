import { serverError } from '../errors.ts'
import type { WatchedBody } from '../request/body-watch.ts'
import type { Exchange } from './exchange.ts'
import { declaredLength, tooLarge } from '../request/read-body.ts'

/** The state of a body that a route's handler reads as a stream. */
export interface LimitedBody {
  /** When its last byte arrived, on the clock of `performance.now()`. */
  readonly progressAt: () => number
}

/**
 * Holds a streamed body to its size and its sender to its pace, without touching the bytes.
 *
 * @param onBreach ends the exchange; called at most once.
 * @throws QuintetError `ERR_SERVER_TOO_LARGE` when the declared length is over the limit.
 */
export function limitBody(exchange: Exchange, limit: number, onBreach: (error: Error) => void): LimitedBody {
  const { request, site } = exchange
  const declared = declaredLength(request)
  if (declared !== undefined && declared > limit) throw tooLarge(limit)
  let progressAt = performance.now()
  if (declared === 0) return { progressAt: () => progressAt }

  let watched: WatchedBody | undefined
  const breach = (error: Error): void => {
    watched?.unwatch()
    onBreach(error)
  }
  // The parser hands each piece of the body to `push`: the one place that all of them pass, also under back-pressure.
  const push = request.push.bind(request)
  let size = 0
  request.push = (piece: Uint8Array | null, encoding?: BufferEncoding): boolean => {
    if (piece === null) {
      watched?.unwatch()
      return push(null)
    }
    progressAt = performance.now()
    watched?.progress(piece.length)
    if (size > limit) return true
    size += piece.length
    if (size > limit) {
      breach(tooLarge(limit))
      return true
    }
    return push(piece, encoding)
  }
  if (!request.complete) {
    const { uploadTimeout, uploadProgressTimeout, uploadPace } = site.options
    const limits = { total: uploadTimeout, still: uploadProgressTimeout, pace: uploadPace }
    watched = site.bodies.watch(request, limits, () => {
      breach(serverError('ERR_SERVER_REQUEST_TIMEOUT', 'The body of the request came too slowly.'))
    })
    request.once('close', watched.unwatch.bind(watched))
  }
  return { progressAt: () => progressAt }
}
