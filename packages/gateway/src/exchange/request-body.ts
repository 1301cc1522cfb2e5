import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

/**
 * The body of a client's request on its way to the upstream. It holds at most one chunk: the client is read
 * only as fast as the upstream takes it. Ending it leaves the request itself alone, so that the client can
 * still be answered.
 */
export class RequestBody extends Readable {
  /** True once the first byte has been asked for. Until then the same body can be sent elsewhere. */
  started = false
  readonly #request: IncomingMessage
  readonly #limit: number
  readonly #onStart: () => void
  readonly #onTooLarge: () => void
  #received = 0
  #waitingSince = Number.POSITIVE_INFINITY
  #blockedSince = Number.POSITIVE_INFINITY
  #endedAt = Number.POSITIVE_INFINITY

  constructor(
    request: IncomingMessage,
    limit: number,
    events: { readonly onStart: () => void; readonly onTooLarge: () => void },
  ) {
    super({ highWaterMark: 0 })
    this.#request = request
    this.#limit = limit
    this.#onStart = events.onStart
    this.#onTooLarge = events.onTooLarge
    this.once('end', () => {
      this.#blockedSince = Number.POSITIVE_INFINITY
      this.#endedAt = performance.now()
    })
  }

  /** Since when the client has owed the next bytes, in milliseconds of the monotonic clock; Infinity when it owes none. */
  get waitingSince(): number {
    return this.#waitingSince
  }

  /** Since when the upstream has not taken what is there for it; Infinity while it takes it. */
  get blockedSince(): number {
    return this.#blockedSince
  }

  /** When the whole body had been handed over; Infinity before. */
  get endedAt(): number {
    return this.#endedAt
  }

  override _read(): void {
    this.#waitingSince = performance.now()
    this.#blockedSince = Number.POSITIVE_INFINITY
    if (!this.started) {
      this.started = true
      this.#onStart()
      this.#request.on('data', this.#onData).on('end', this.#onEnd)
    }
    this.#request.resume()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#waitingSince = this.#blockedSince = Number.POSITIVE_INFINITY
    this.#request.off('data', this.#onData).off('end', this.#onEnd)
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received += chunk.length
    if (this.#received > this.#limit) {
      this.#request.pause()
      this.#onTooLarge()
    } else if (this.push(chunk)) {
      this.#waitingSince = performance.now()
    } else {
      this.#waitingSince = Number.POSITIVE_INFINITY
      this.#blockedSince = performance.now()
      this.#request.pause()
    }
  }

  readonly #onEnd = (): void => {
    this.#waitingSince = Number.POSITIVE_INFINITY
    this.#blockedSince = performance.now()
    this.push(null)
  }
}
