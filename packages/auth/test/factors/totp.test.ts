import { describe, expect, it } from 'vitest'
import { createTotpSecret, encodeBase32, findTotpStep, totpCode, totpUri } from '../../src/index.ts'

/** RFC 6238 appendix B, with the last six of its eight digits. */
const secret = encodeBase32(Buffer.from('12345678901234567890'))
const vectors = [
  [59, '287082'],
  [1_111_111_109, '081804'],
  [1_111_111_111, '050471'],
  [1_234_567_890, '005924'],
  [2_000_000_000, '279037'],
  [20_000_000_000, '353130'],
] as const

describe('a time-based one-time password', () => {
  it.each(vectors)('is that of RFC 6238 at %i s', (seconds, code) => {
    expect(totpCode(secret, seconds * 1_000)).toBe(code)
    expect(findTotpStep(secret, code, seconds * 1_000)).toBe(Math.floor(seconds / 30))
  })

  it('is taken one step early and late, with the step that it is of, and no further', () => {
    const at = 1_234_567_890_000
    const step = 41_152_263
    const found = (moved: number): number | undefined =>
      findTotpStep(secret, totpCode(secret, at + moved * 30_000), at)
    expect([-2, -1, 0, 1, 2].map(found)).toEqual([undefined, step - 1, step, step + 1, undefined])
  })

  it.each(['', '0', '5924', '0005924', ' 005924', '００５９２４', 'abcdef'])('is not %j', (code) => {
    expect(findTotpStep(secret, code, 1_234_567_890_000)).toBeUndefined()
  })

  it('has a secret of 160 bits, which authenticator apps read from a URI', () => {
    const made = createTotpSecret()
    expect(made).toMatch(/^[A-Z2-7]{32}$/)
    expect(made).not.toBe(createTotpSecret())
    const uri = totpUri({ secret: made, issuer: 'A & B', account: 'ada@example.com' })
    expect(uri).toBe(`otpauth://totp/A%20%26%20B:ada%40example.com?secret=${made}&issuer=A%20%26%20B`)
    expect(() => totpCode('short')).toThrow(TypeError)
    expect(() => totpCode(made.toLowerCase())).toThrow(TypeError)
  })
})
