import { badAnswer } from './upstream-failure.ts'

const chunkSize = /^([0-9a-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/i
const trailerField = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/
const lineFeed = 10

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
   * Decodes what has come. Returns what follows the body once that has ended, else undefined.
   *
   * @throws UpstreamFailure
   */
  push(chunk: Buffer, events: { onData(chunk: Buffer): void }): Buffer | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.#state === 'data') {
        const data = chunk.subarray(at, at + this.#left)
        this.#left -= data.length
        at += data.length
        events.onData(data)
        if (this.#left === 0) this.#state = 'dataEnd'
        continue
      }
      const end = chunk.indexOf(lineFeed, at)
      this.#line += chunk.toString('latin1', at, end === -1 ? chunk.length : end + 1)
      if (this.#line.length + this.#trailerSize > this.#maxLineSize) throw badAnswer('a chunk has no end')
      if (end === -1) return undefined
      at = end + 1
      if (this.#endLine()) return chunk.subarray(at)
    }
    return undefined
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
