/**
 * A UUID of version 7: it begins with the time, so that rows which are made one after another stand together in an
 * index, and ids sort by age to the millisecond.
 *
 * @example
 * const id = uuidv7()
 *
 * @see RFC 9562 section 5.7
 */
export function uuidv7(now = Date.now()): string {
  const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(16)).buffer)
  bytes.writeUIntBE(now, 0, 6)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
