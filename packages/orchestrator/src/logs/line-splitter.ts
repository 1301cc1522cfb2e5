/** Longer lines are cut, so that no output can fill the memory. */
export const maxLineBytes: number = 1024 * 1024

const newline = 0x0a

/**
 * Cuts a stream of bytes at the ends of lines. A character that arrives in two parts stays whole, a line that is too long is
 * cut, and `end` gives what is left without a newline.
 */
export interface LineSplitter {
  push(chunk: Buffer): void
  /** The line that is being read is too long, and will be cut. */
  readonly isCutting: boolean
  end(): void
}

/** @param onLines gets one or more whole lines, each with its newline: as many as have come together. */
export function createLineSplitter(
  onLines: (lines: string) => void,
  maxBytes: number = maxLineBytes,
): LineSplitter {
  /** The beginning of a line whose end has not come. */
  let parts: Buffer[] = []
  let size = 0
  /** The rest of a line that was cut is dropped. */
  let dropping = false

  function take(part: Buffer): void {
    const room = maxBytes - size
    if (dropping || room <= 0) {
      dropping ||= part.length > 0
      return
    }
    const kept = part.length > room ? part.subarray(0, room) : part
    dropping = kept.length < part.length
    parts.push(kept)
    size += kept.length
  }

  function finish(): void {
    const text = Buffer.concat(parts).toString('utf8')
    const wasCut = dropping
    parts = []
    size = 0
    dropping = false
    onLines(`${text}${wasCut ? '…' : ''}\n`)
  }

  return {
    push(chunk) {
      const last = chunk.lastIndexOf(newline)
      let start = 0
      // Lines that may be too long, or have begun before, one by one.
      while (start <= last && (size > 0 || dropping || last - start > maxBytes)) {
        const end = chunk.indexOf(newline, start)
        take(chunk.subarray(start, end))
        finish()
        start = end + 1
      }
      if (start <= last) onLines(chunk.toString('utf8', start, last + 1))
      // A copy: the chunk's memory is the stream's, and the line may be long in coming.
      if (last + 1 < chunk.length) take(Buffer.from(chunk.subarray(last + 1)))
    },
    get isCutting() {
      return dropping
    },
    end() {
      if (size > 0 || dropping) finish()
    },
  }
}
