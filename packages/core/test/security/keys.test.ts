import { describe, expect, it } from 'vitest'
import { Secret } from '../../src/index.ts'
import { deriveKey, safeEqual } from '../../src/kit.ts'

describe('safeEqual', () => {
  it.each([
    ['abc', 'abc', true],
    ['abc', 'abd', false],
    ['abc', 'abcd', false],
    ['', '', true],
    ['ä', Buffer.from('ä'), true],
    [new Uint8Array([1, 2]), Buffer.from([1, 2]), true],
  ] as const)('compares %j and %j', (a, b, expected) => {
    expect(safeEqual(a, b)).toBe(expected)
  })
})

describe('deriveKey', () => {
  const secret = 'correct-horse-battery-staple-0123'

  it('is HKDF-SHA-256, the same for text, bytes and what reveals the text', () => {
    const key = deriveKey(secret, 'quintet/test/v1')
    expect(key).toHaveLength(32)
    expect(deriveKey(Buffer.from(secret), 'quintet/test/v1')).toEqual(key)
    expect(deriveKey(new Secret(secret), 'quintet/test/v1')).toEqual(key)
  })

  it('gives another key for another label', () => {
    expect(deriveKey(secret, 'quintet/a/v1')).not.toEqual(deriveKey(secret, 'quintet/b/v1'))
  })

  it('gives what RFC 5869 gives (test case 3)', () => {
    const expected = '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8'
    expect(deriveKey(Buffer.alloc(22, 0x0b), '', 42).toString('hex')).toBe(expected)
  })
})
