import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { IdleWatch, unsentOn } from '../../src/exchange/idle-watch.ts'

describe('an exchange stands still', () => {
  // A whole number, so that differences are exact.
  const start = Math.ceil(performance.now())

  it('for as long as no byte is read from either side, and none is taken', () => {
    const idle = new IdleWatch()
    idle.idleFor(start, 10, 5)
    expect(idle.idleFor(start + 100, 10, 5)).toBe(100)
    expect(idle.idleFor(start + 250, 10, 5)).toBe(250)
  })

  it.each([
    ['is read', 11, 5],
    ['is taken', 10, 4],
    ['is written', 10, 6],
    ['is read and written', 11, 6],
  ])('no longer once a byte %s', (_what, received, unsent) => {
    const idle = new IdleWatch()
    idle.idleFor(start, 10, 5)
    expect(idle.idleFor(start + 100, received, unsent)).toBe(0)
    expect(idle.idleFor(start + 150, received, unsent)).toBe(50)
  })

  it('not while it is excused', () => {
    const idle = new IdleWatch()
    idle.idleFor(start, 10, 5)
    idle.excuse(start + 90)
    expect(idle.idleFor(start + 100, 10, 5)).toBe(10)
  })
})

describe('what a socket has not sent', () => {
  it('becomes less with each part of a write that the system takes', () => {
    const socket = (queued: number): Socket =>
      ({ writableLength: 100, _handle: { writeQueueSize: queued } }) as unknown as Socket
    expect(unsentOn(socket(80)) - unsentOn(socket(30))).toBe(50)
    expect(unsentOn({ writableLength: 100, _handle: null } as unknown as Socket)).toBe(100)
    expect(unsentOn(null)).toBe(0)
  })
})
