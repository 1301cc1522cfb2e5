/** Why a WebSocket connection is closed: RFC 6455, section 7.4.1, and from 4000 on our own. */
export const closeCode = Object.freeze({
  /** The process is about to stop; connect again after the time that it said. */
  goingAway: 1001,
  /** A message that the protocol cannot read. */
  malformed: 1007,
  /** Too many messages at once, or an unknown kind of message. */
  policy: 1008,
  /** A message above what the server takes. */
  tooLarge: 1009,
  internal: 1011,
  /** The client reads too slowly. */
  slowConsumer: 4008,
  /** The session ended: sign in again before connecting. */
  sessionEnded: 4401,
} as const)

/** The most bytes of a reason: a control frame carries 125, and two are the code. */
const longestReason = 123

/**
 * A close frame of a server (RFC 6455, section 5.5.1). It is not masked, and a control frame is never compressed, so it
 * can be written past any library.
 */
export function closeFrame(code: number, reason = ''): Buffer {
  const text = truncate(Buffer.from(reason), longestReason)
  const payload = Buffer.alloc(2 + text.length)
  payload.writeUInt16BE(code, 0)
  text.copy(payload, 2)
  return frame(0x8, payload)
}

/** A text message of a server in one frame (RFC 6455, section 5.6), of at most 65,535 bytes. */
export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text)
  if (payload.length > 65_535)
    throw new RangeError(`textFrame: ${payload.length} bytes are too long for one frame.`)
  return frame(0x1, payload)
}

/** One final frame without a mask. */
function frame(opcode: number, payload: Buffer): Buffer {
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, payload.length])
      : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 0xff])
  return Buffer.concat([head, payload])
}

/** As many whole characters as fit; half of one would not be UTF-8. */
function truncate(text: Buffer, most: number): Buffer {
  if (text.length <= most) return text
  let end = most
  while (((text[end] ?? 0) & 0xc0) === 0x80) end--
  return text.subarray(0, end)
}
