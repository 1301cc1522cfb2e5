import { badAnswer } from './upstream-failure.ts'

const chunkSize = /^([0-9a-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/i
const trailerField = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/
const lineFeed = 10
const carriageReturn = 13

/** Incremental decoder of the chunked transfer coding (RFC 9112, section 7.1). Trailers are read and dropped. */
export class ChunkedBody {
  readonly #maxLineSize: number
  #state: 'size' | 'data' | 'dataEnd' | 'trailer' = 'size'
  #line = ''
  #left = 0
  #trailerSize = 0

  /** @param maxLineSize of a chunk's size with its extensions, and of all trailers together */
  constructor(maxLineSize: number) {
    this.#maxLineSize = maxLineSize
  }

  /**
   * Decodes what has come, and hands it out in one piece, however many chunks it is. Returns what follows the body once
   * that has ended, else undefined.
   *
   * @throws UpstreamFailure
   */
  push(chunk: Buffer, events: { onData(chunk: Buffer): void }): Buffer | undefined {
    /** Where the data of the first chunk stands; that of the others is moved up to it. */
    let from = 0
    let to = 0
    let at = 0
    let ended = false
    while (at < chunk.length && !ended) {
      if (this.#state === 'data') {
        const next = Math.min(chunk.length, at + this.#left)
        if (from === to) from = to = at
        else if (to !== at) chunk.copyWithin(to, at, next)
        to += next - at
        this.#left -= next - at
        at = next
        if (this.#left === 0) this.#state = 'dataEnd'
        continue
      }
      const next = this.#line === '' ? this.#skipFraming(chunk, at) : at
      if (next > at) {
        at = next
        continue
      }
      const end = chunk.indexOf(lineFeed, at)
      this.#line += chunk.toString('latin1', at, end === -1 ? chunk.length : end + 1)
      if (this.#line.length + this.#trailerSize > this.#maxLineSize) throw badAnswer('a chunk has no end')
      at = end === -1 ? chunk.length : end + 1
      ended = end !== -1 && this.#endLine()
    }
    if (to > from) events.onData(chunk.subarray(from, to))
    return ended ? chunk.subarray(at) : undefined
  }

  /** Reads the end of a chunk or a size of one digit, as they are written as a rule. Returns where that ends. */
  #skipFraming(chunk: Buffer, at: number): number {
    if (this.#state === 'dataEnd' && chunk[at] === carriageReturn && chunk[at + 1] === lineFeed) {
      this.#state = 'size'
      return at + 2
    }
    if (this.#state === 'size' && chunk[at + 1] === carriageReturn && chunk[at + 2] === lineFeed) {
      const digit = (chunk[at] as number) - 0x30
      if (digit < 1 || digit > 9) return at
      this.#left = digit
      this.#state = 'data'
      return at + 3
    }
    return at
  }

  /** True when this was the last line of the body. */
  #endLine(): boolean {
    if (!this.#line.endsWith('\r\n')) throw badAnswer('a line of a chunk does not end with CR LF')
    const line = this.#line.slice(0, -2)
    this.#line = ''
    if (this.#state === 'size') {
      const size = chunkSize.exec(line)?.[1]
      if (size === undefined) throw badAnswer('the size of a chunk cannot be read')
      this.#left = Number.parseInt(size, 16)
      this.#state = this.#left === 0 ? 'trailer' : 'data'
      return false
    }
    if (this.#state === 'trailer') {
      if (line === '') return true
      if (!trailerField.test(line)) throw badAnswer('a trailer cannot be read')
      this.#trailerSize += line.length + 2
      return false
    }
    if (line !== '') throw badAnswer('a chunk is longer than it says')
    this.#state = 'size'
    return false
  }
}
