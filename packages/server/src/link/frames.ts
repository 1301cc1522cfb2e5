import { ByteRange } from './byte-range.ts'

/** The kinds of frames on a link. */
export const frameType = {
  hello: 1,
  proof: 2,
  welcome: 3,
  call: 4,
  result: 5,
  item: 6,
  end: 7,
  error: 8,
  cancel: 9,
  /** The reader of a stream can take so many more items. */
  credit: 10,
  /** The sender is about to stop: no new calls, please. */
  leaving: 11,
  /** A stream has begun, before its first item. */
  begin: 12,
  /** Asks the other side whether it lives. */
  ping: 13,
  pong: 14,
} as const

/** The body is not JSON alone: binary values follow it. */
export const binaryFlag = 1
/** The stream that begins can be taken up again after its last item. */
export const resumableFlag = 2

/** One frame: `length (u32) type (u8) flags (u8) id (u32) payload`, all little endian; the length counts what follows it. */
export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: ByteRange
}

export const frameHeader = 10
const chunkSize = 64 * 1024
/** Text longer than this is encoded on its own instead of into the shared chunk. */
const longText = 16 * 1024
/** Bytes up to this many are copied into the shared chunk; more are handed on as they are. */
const shortBytes = 4 * 1024

/** So many frames are written at once even before the turn is over: the other side begins while this one goes on. */
const framesPerWrite = 16

/** Where frames are written to; a socket fits. */
export interface FrameSink {
  readonly destroyed: boolean
  cork(): void
  uncork(): void
  write(chunk: Uint8Array): boolean
}

/** Collects the frames of one turn of the event loop and writes them together. */
export class FrameWriter {
  readonly #sink: FrameSink
  #chunk: Buffer = Buffer.allocUnsafe(chunkSize)
  /** Where the part of the chunk begins that has not been handed on. */
  #from = 0
  #at = 0
  #ready: Uint8Array[] = []
  #frames = 0
  #scheduled = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** @param pieces text is written as UTF-8, bytes as they are, a number as four bytes. */
  write(type: number, id: number, flags: number, pieces: readonly (string | number | Uint8Array)[]): void {
    this.#reserve(frameHeader)
    const chunk = this.#chunk
    const start = this.#at
    this.#at = start + frameHeader
    let size = 0
    // The header is filled in at the end, also when the chunk that holds it has been handed on by then.
    for (const piece of pieces) size += this.#append(piece)
    chunk.writeUInt32LE(frameHeader - 4 + size, start)
    chunk[start + 4] = type
    chunk[start + 5] = flags
    chunk.writeUInt32LE(id, start + 6)
    if (++this.#frames >= framesPerWrite) this.#flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flushTurn)
    }
  }

  #append(piece: string | number | Uint8Array): number {
    if (typeof piece === 'number') {
      this.#reserve(4)
      this.#chunk.writeUInt32LE(piece, this.#at)
      this.#at += 4
      return 4
    }
    if (typeof piece === 'string' && piece.length <= longText) {
      this.#reserve(piece.length * 3)
      const length = this.#chunk.write(piece, this.#at, 'utf8')
      this.#at += length
      return length
    }
    const bytes = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece
    if (bytes.byteLength <= shortBytes) {
      this.#reserve(bytes.byteLength)
      this.#chunk.set(bytes, this.#at)
      this.#at += bytes.byteLength
    } else {
      this.#handOn()
      this.#ready.push(bytes)
    }
    return bytes.byteLength
  }

  #reserve(size: number): void {
    if (this.#at + size <= this.#chunk.length) return
    this.#handOn()
    this.#chunk = Buffer.allocUnsafe(Math.max(chunkSize, size))
    this.#from = 0
    this.#at = 0
  }

  #handOn(): void {
    if (this.#at === this.#from) return
    this.#ready.push(this.#chunk.subarray(this.#from, this.#at))
    this.#from = this.#at
  }

  readonly #flushTurn = (): void => {
    this.#scheduled = false
    this.#flush()
  }

  #flush(): void {
    this.#frames = 0
    this.#handOn()
    const ready = this.#ready
    this.#ready = []
    if (this.#sink.destroyed || ready.length === 0) return
    if (ready.length === 1) {
      this.#sink.write(ready[0] as Uint8Array)
      return
    }
    this.#sink.cork()
    for (const bytes of ready) this.#sink.write(bytes)
    this.#sink.uncork()
  }
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  /** The largest frame that is taken, in bytes after the length. */
  limit: number
  #pending: Buffer[] = []
  #size = 0
  #needed = 4

  constructor(limit: number) {
    this.limit = limit
  }

  /** @throws RangeError when a frame is too large or too small; the link cannot be used any further. */
  read(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    let data = chunk
    if (this.#size > 0) {
      this.#pending.push(chunk)
      this.#size += chunk.length
      // Joined once, when a whole frame is there, and not for each piece of a long one.
      if (this.#size < this.#needed) return
      data = Buffer.concat(this.#pending, this.#size)
      this.#pending = []
      this.#size = 0
    }
    let at = 0
    while (data.length - at >= 4) {
      const length = data.readUInt32LE(at)
      if (length > this.limit || length < frameHeader - 4)
        throw new RangeError(`A frame of ${String(length)} bytes is not taken.`)
      if (data.length - at < length + 4) {
        this.#needed = length + 4
        break
      }
      onFrame({
        type: data[at + 4] as number,
        flags: data[at + 5] as number,
        id: data.readUInt32LE(at + 6),
        payload: new ByteRange(data, at + frameHeader, at + 4 + length),
      })
      at += 4 + length
    }
    if (at === data.length) return
    const rest = at === 0 ? data : data.subarray(at)
    if (rest.length < 4) this.#needed = 4
    this.#pending = [rest]
    this.#size = rest.length
  }
}
