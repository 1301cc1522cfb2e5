/** RFC 6455, section 7.4.1: the server goes away. */
export const goingAway = 1001

/**
 * A close frame of a server (RFC 6455, section 5.5.1). It is not masked, and a control frame is never compressed, so it
 * can be written past any library.
 */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason).subarray(0, 123)
  const frame = Buffer.alloc(4 + text.length)
  frame[0] = 0x88
  frame[1] = 2 + text.length
  frame.writeUInt16BE(code, 2)
  text.copy(frame, 4)
  return frame
}
