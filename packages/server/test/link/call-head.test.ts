import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anonymous, type Principal } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { ByteRange } from '../../src/link/byte-range.ts'
import { CallHeadReader, CallHeadWriter, type CallHead } from '../../src/link/call-head.ts'

const users = Array.from({ length: 3_000 }, (_, index) => testUser({ userId: `user-${String(index)}` }))

/** Carries a head over, and tells how many bytes that took. */
function carrier(): (head: CallHead) => { readonly got: CallHead; readonly bytes: number } {
  const writer = new CallHeadWriter()
  const reader = new CallHeadReader()
  return (head) => {
    const [number, length, bytes] = writer.write(head, 1_000_000) as [number, number, Buffer | undefined]
    expect(length).toBe(bytes?.length ?? 0)
    return { got: reader.read(number, new ByteRange(bytes ?? Buffer.alloc(0))), bytes: length }
  }
}

const headOf = (principal: Principal, method: string, lastEventId?: string): CallHead => ({
  principal,
  method,
  lastEventId,
})

describe('the head of a call', () => {
  it('arrives as it was sent, whoever called before, also when there are more than are remembered', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            principal: fc.oneof(fc.constant(anonymous), fc.constantFrom(...users)),
            method: fc.constantFrom('a.b', 'a.c', 'd.e'),
            lastEventId: fc.option(fc.string(), { nil: undefined, freq: 10 }),
          }),
          { minLength: 2_000, maxLength: 4_000 },
        ),
        (heads) => {
          const carry = carrier()
          for (const head of heads) expect(carry(head).got).toEqual(head)
        },
      ),
      { numRuns: 5 },
    )
  })

  it('is sent once, and again only after many others', () => {
    const carry = carrier()
    const [alice = anonymous, ...others] = users
    expect(carry(headOf(alice, 'a.b')).bytes).toBeGreaterThan(0)
    expect(carry(headOf(alice, 'a.b')).bytes).toBe(0)
    expect(carry(headOf(alice, 'a.c')).bytes).toBeGreaterThan(0)
    for (const other of others.slice(0, 1_024)) carry(headOf(other, 'a.b'))
    expect(carry(headOf(alice, 'a.b')).bytes).toBeGreaterThan(0)
    expect(carry(headOf(alice, 'a.b')).bytes).toBe(0)
  })

  it('is not remembered for a principal that may change', () => {
    const carry = carrier()
    const changing = { ...testUser({ userId: 'alice' }) }
    expect(carry(headOf(changing, 'a.b')).got.principal).toMatchObject({ userId: 'alice' })
    Object.assign(changing, { userId: 'bob' })
    expect(carry(headOf(changing, 'a.b')).got.principal).toMatchObject({ userId: 'bob' })
  })

  it('cannot refer to one that was never sent', () => {
    expect(() => new CallHeadReader().read(5, new ByteRange(Buffer.alloc(0)))).toThrow(TypeError)
  })
})
