/**
 * Follows the frames of one direction of a WebSocket (RFC 6455, section 5.2) without reading their payload,
 * to know where a frame of one's own may be put in.
 */
export interface FrameTracker {
  /** True between two frames. */
  readonly betweenFrames: boolean
  /** True between two messages: not amid the fragments of one. */
  readonly betweenMessages: boolean
  /**
   * Follows the chunk up to its end, or, where `stop` is set, to the first end of a frame. Returns the
   * number of bytes followed.
   */
  follow(chunk: Uint8Array, stop?: boolean): number
}

export function createFrameTracker(): FrameTracker {
  /** Bytes of the current frame's head, as far as they have come. */
  const head = new Uint8Array(14)
  let headLength = 0
  let payloadLeft = 0
  let inFrame = false
  let inMessage = false

  /** Takes one byte of the head; true when the head is complete. */
  function takeHead(byte: number): boolean {
    head[headLength++] = byte
    if (headLength < 2) return false
    const second = head[1] as number
    const shortLength = second & 0x7f
    const lengthBytes = shortLength === 126 ? 2 : shortLength === 127 ? 8 : 0
    const maskBytes = second & 0x80 ? 4 : 0
    if (headLength < 2 + lengthBytes + maskBytes) return false
    payloadLeft = shortLength
    if (lengthBytes > 0) {
      payloadLeft = 0
      for (let index = 2; index < 2 + lengthBytes; index++)
        payloadLeft = payloadLeft * 256 + (head[index] as number)
    }
    const first = head[0] as number
    const isControl = (first & 0x08) !== 0
    if (!isControl) inMessage = (first & 0x80) === 0
    return true
  }

  return {
    get betweenFrames() {
      return !inFrame
    },
    get betweenMessages() {
      return !inFrame && !inMessage
    },
    follow(chunk, stop = false) {
      let index = 0
      while (index < chunk.length) {
        if (payloadLeft > 0) {
          const step = Math.min(payloadLeft, chunk.length - index)
          payloadLeft -= step
          index += step
        } else {
          inFrame = true
          if (!takeHead(chunk[index++] as number)) continue
          headLength = 0
        }
        if (payloadLeft === 0) {
          inFrame = false
          if (stop) return index
        }
      }
      return index
    },
  }
}
