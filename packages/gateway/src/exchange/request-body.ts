import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { unsentOn } from './idle-watch.ts'

/** How much is collected before it is written as one chunk. */
const fullChunk = Object.freeze({ bytes: 65_536, pieces: 1_024 })

export interface RequestBodyOptions {
  /** Written in chunks; else the length stands in the head. */
  readonly chunked: boolean
  /** The most bytes that are taken. */
  readonly limit: number
  /** The body is asked for. */
  readonly onStart: () => void
  readonly onTooLarge: () => void
}

/**
 * The body of a client's request on its way to the upstream: the client is read only as fast as the upstream takes it.
 * Ending it leaves the request itself alone, so that the client can still be answered.
 */
export class RequestBody {
  /** True once the first byte has been asked for. Until then the same body can be sent elsewhere. */
  started = false
  /** Whether all of it has been written. */
  complete = false
  /** Whom it waits for: the client to send more, or the upstream to take what is there. */
  waitsFor: 'client' | 'upstream' | undefined
  /** How many bytes have come. */
  received = 0
  /** When the whole body had been taken; Infinity before. */
  endedAt = Number.POSITIVE_INFINITY
  readonly #request: IncomingMessage
  readonly #options: RequestBodyOptions
  #socket: Socket | undefined
  /** What has come since the last chunk was written. */
  #pieces: Buffer[] = []
  #collected = 0

  constructor(request: IncomingMessage, options: RequestBodyOptions) {
    this.#request = request
    this.#options = options
  }

  /** How much of it waits to be taken by the upstream. */
  get unsent(): number {
    return unsentOn(this.#socket)
  }

  start(socket: Socket): void {
    this.started = true
    this.waitsFor = 'client'
    this.#socket = socket
    this.#options.onStart()
    socket.on('drain', this.#onDrain)
    this.#request.on('data', this.#onData).on('end', this.#onEnd).resume()
  }

  stop(): void {
    this.waitsFor = undefined
    this.#request.off('data', this.#onData).off('end', this.#onEnd)
    this.#socket?.off('drain', this.#onDrain)
    this.#socket = undefined
  }

  readonly #onData = (chunk: Buffer): void => {
    this.received += chunk.length
    if (this.received > this.#options.limit) {
      this.#request.pause()
      this.#options.onTooLarge()
    } else if (this.#options.chunked) {
      this.#pieces.push(chunk)
      this.#collected += chunk.length
      // All that is read at a time becomes one chunk: a client's chunks of one byte would cost a system call each.
      const { bytes, pieces } = fullChunk
      if (this.#collected >= bytes || this.#pieces.length >= pieces) this.#writeChunk()
      else if (this.#pieces.length === 1) setImmediate(this.#writeChunk)
    } else {
      this.#written(this.#socket?.write(chunk))
    }
  }

  readonly #writeChunk = (): void => {
    const pieces = this.#pieces
    const socket = this.#socket
    if (pieces.length === 0 || !socket) return
    this.#pieces = []
    this.#collected = 0
    const chunk = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
    socket.cork()
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    socket.write(chunk)
    this.#written(socket.write('\r\n', 'latin1'))
    socket.uncork()
  }

  #written(takesMore: boolean | undefined): void {
    if (takesMore) return
    this.waitsFor = 'upstream'
    this.#request.pause()
  }

  readonly #onDrain = (): void => {
    if (this.complete) return
    this.waitsFor = 'client'
    this.#request.resume()
  }

  readonly #onEnd = (): void => {
    this.#writeChunk()
    this.complete = true
    this.waitsFor = 'upstream'
    const taken = (): void => {
      this.waitsFor = undefined
      this.endedAt = performance.now()
    }
    if (this.#options.chunked) this.#socket?.write('0\r\n\r\n', 'latin1', taken)
    else if (this.#socket?.writableLength === 0) taken()
    else this.#socket?.write('', taken)
  }
}
