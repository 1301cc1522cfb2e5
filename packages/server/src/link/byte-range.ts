/** A part of a buffer. It costs a fraction of what a `Buffer` over the same bytes does, and every frame needs some. */
export class ByteRange {
  readonly #source: Buffer
  readonly #start: number
  readonly #end: number

  constructor(source: Buffer, start = 0, end: number = source.length) {
    this.#source = source
    this.#start = start
    this.#end = end
  }

  get length(): number {
    return this.#end - this.#start
  }

  /** @throws RangeError when the bytes are not there. */
  slice(from: number, to: number = this.length): ByteRange {
    if (from < 0 || from > to || to > this.length) throw new RangeError('A part is longer than its frame.')
    return new ByteRange(this.#source, this.#start + from, this.#start + to)
  }

  /** @throws RangeError when the bytes are not there. */
  readUInt32LE(at: number): number {
    if (at + 4 > this.length) throw new RangeError('A frame is shorter than it must be.')
    return this.#source.readUInt32LE(this.#start + at)
  }

  toString(encoding: 'utf8' | 'latin1' = 'utf8'): string {
    return this.#source.toString(encoding, this.#start, this.#end)
  }

  /** The bytes alone, without the rest of the buffer that they came in. */
  copy(): Uint8Array {
    return new Uint8Array(this.#source.subarray(this.#start, this.#end))
  }
}
