/** Longer lines are cut, so that no output can fill the memory. */
export const maxLineBytes: number = 1024 * 1024

const newline = 0x0a

/**
 * Cuts a stream of bytes into lines. A character that arrives in two parts stays whole, a line that is too long is
 * cut, and `end` gives what is left without a newline.
 */
export interface LineSplitter {
  push(chunk: Buffer): void
  /** The line that is being read is too long, and will be cut. */
  readonly isCutting: boolean
  end(): void
}

export function createLineSplitter(
  onLine: (line: string) => void,
  maxBytes: number = maxLineBytes,
): LineSplitter {
  let parts: Buffer[] = []
  let size = 0
  /** The rest of a line that was cut is dropped. */
  let dropping = false

  function take(part: Buffer): void {
    const room = maxBytes - size
    if (dropping || room <= 0) {
      dropping = true
      return
    }
    const kept = part.length > room ? part.subarray(0, room) : part
    dropping = kept.length < part.length
    parts.push(kept)
    size += kept.length
  }

  function finish(): void {
    const line = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    const text = line.toString('utf8')
    onLine(dropping ? `${text}…` : text.endsWith('\r') ? text.slice(0, -1) : text)
    parts = []
    size = 0
    dropping = false
  }

  return {
    push(chunk) {
      let start = 0
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        take(chunk.subarray(start, end))
        finish()
        start = end + 1
      }
      // A copy: the chunk's memory is the stream's, and the line may be long in coming.
      if (start < chunk.length) take(Buffer.from(chunk.subarray(start)))
    },
    get isCutting() {
      return dropping
    },
    end() {
      if (size > 0 || dropping) finish()
    },
  }
}
