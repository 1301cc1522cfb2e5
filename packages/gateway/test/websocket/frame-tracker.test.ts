import { describe, expect, it } from 'vitest'
import { createFrameTracker } from '../../src/websocket/frame-tracker.ts'

function frame(opcode: number, length: number, final = true, masked = false): Buffer {
  const first = (final ? 0x80 : 0) | opcode
  const mask = masked ? 0x80 : 0
  const head =
    length < 126
      ? Buffer.from([first, mask | length])
      : length < 65_536
        ? Buffer.from([first, mask | 126, length >> 8, length & 0xff])
        : Buffer.concat([Buffer.from([first, mask | 127]), bigLength(length)])
  return Buffer.concat([head, masked ? Buffer.alloc(4, 7) : Buffer.alloc(0), Buffer.alloc(length, 0x81)])
}

function bigLength(length: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64BE(BigInt(length))
  return buffer
}

const stream = Buffer.concat([
  frame(1, 5),
  frame(2, 0),
  frame(1, 200, false),
  frame(9, 3),
  frame(0, 126, true),
  frame(2, 70_000, true, true),
  frame(8, 2),
])

describe('createFrameTracker', () => {
  it('is between frames exactly at their ends, however the bytes are cut', () => {
    const ends: number[] = []
    const tracker = createFrameTracker()
    for (let offset = 0; offset < stream.length;) {
      offset += tracker.follow(stream.subarray(offset), true)
      ends.push(offset)
    }
    expect(ends).toHaveLength(7)
    const cut = createFrameTracker()
    const found: number[] = []
    for (let index = 0; index < stream.length; index++) {
      cut.follow(stream.subarray(index, index + 1))
      if (cut.betweenFrames) found.push(index + 1)
    }
    expect(found).toEqual(ends)
  })

  it('knows when it stands amid the fragments of a message', () => {
    const tracker = createFrameTracker()
    tracker.follow(frame(1, 3, false))
    expect([tracker.betweenFrames, tracker.betweenMessages]).toEqual([true, false])
    tracker.follow(frame(9, 0))
    expect(tracker.betweenMessages).toBe(false)
    tracker.follow(frame(0, 3, true))
    expect(tracker.betweenMessages).toBe(true)
  })
})
