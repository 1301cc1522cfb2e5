import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deriveSecrets } from '../../src/index.ts'
import { secretKey } from '../../src/secrets.ts'
import { fingerprint } from '../../src/sessions/binding.ts'
import { maxRefreshTokenLength, RefreshTokenCodec } from '../../src/authority/refresh-token.ts'
import {
  assertId,
  assertSessionId,
  epochKey,
  escapeId,
  indexKey,
  isId,
  isSessionId,
  seenKey,
  sessionKey,
  unescapeId,
  type SessionRef,
} from '../../src/sessions/session-keys.ts'

const secrets = deriveSecrets('the root secret of the session keys')
const codec = new RefreshTokenCodec(secrets, 'test')
const bindingKey = secretKey(secrets.cnf, 'test')

/** Whatever a caller could call a tenant or a user, with all that keys and tokens are put together with. */
const anything = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom(...':{}~|%. @-_\\/*?[]\n\r\0aA1'.split(''), 'ü', '\uFFFD', '\uD800', '\u{1F600}'),
  }),
  fc.string({ unit: fc.constantFrom('s', 'e', 'u', ':', '{', '}', '%3A', '%7B', '%25', 'seen') }),
  fc.string({ minLength: 195, maxLength: 205 }),
)
const id = anything.filter(isId)
const sessionId = anything.filter(isSessionId)
const ref: fc.Arbitrary<SessionRef> = fc.record({ tenantId: id, userId: id, sessionId })

/** A session, and one that differs from it by little or not at all: what two keys are most likely to confuse. */
const pair: fc.Arbitrary<readonly [SessionRef, SessionRef]> = fc
  .tuple(
    ref,
    ref,
    fc.subarray(['tenantId', 'userId', 'sessionId'] as const),
    fc.boolean(),
    anything,
    anything,
  )
  .map(([one, other, changed, near, from, to]) => {
    const mixed: SessionRef = { ...one, ...Object.fromEntries(changed.map((name) => [name, other[name]])) }
    if (!near) return [one, mixed] as const
    const slip = (text: string): string =>
      `${from.slice(0, 2)}${text}`.replace(from.slice(0, 1), to.slice(0, 1))
    const slipped = { ...mixed, tenantId: slip(one.tenantId), userId: slip(one.userId) }
    return [one, isId(slipped.tenantId) && isId(slipped.userId) ? slipped : mixed] as const
  })

const keysOf = (each: SessionRef): readonly string[] => [
  sessionKey(each),
  seenKey(each),
  indexKey(each),
  epochKey(each),
]

const shapes: readonly RegExp[] = [
  /^s:\{[^{}:]+:[^{}:]+\}:[^{}:]+$/,
  /^seen:\{[^{}:]+:[^{}:]+\}:[^{}:]+$/,
  /^u:\{[^{}:]+:[^{}:]+\}$/,
  /^e:\{[^{}:]+:[^{}:]+\}$/,
]

describe('the keys of a session', () => {
  it('are never those of another session, user or tenant', () => {
    fc.assert(
      fc.property(pair, ([one, other]) => {
        const sameUser = one.tenantId === other.tenantId && one.userId === other.userId
        const same = sameUser && one.sessionId === other.sessionId
        expect(new Set([...keysOf(one), ...keysOf(other)]).size).toBe(same ? 4 : sameUser ? 6 : 8)
      }),
      { numRuns: 1_000 },
    )
  })

  it('are never shared by two texts that differ in one character', () => {
    const units = [
      ...':{}~|%. @-_\\/*?[]aA1'.split(''),
      'ü',
      '\uFFFD',
      '\uD800',
      '\uDBFF',
      '\uDC00',
      'é',
      'e\u0301',
    ]
    const keys = new Map<string, string>()
    for (const userId of units.flatMap((one) => [one, ...units.map((other) => one + other)]).filter(isId)) {
      const key = sessionKey({ tenantId: 't', userId, sessionId: 's' })
      expect(keys.get(key) ?? userId).toBe(userId)
      keys.set(key, userId)
    }
    expect(keys.size).toBeGreaterThan(500)
  })

  it('are never those of somebody whose ids are split elsewhere', () => {
    fc.assert(
      fc.property(fc.array(id, { minLength: 2, maxLength: 4 }), fc.nat(2), fc.nat(2), (parts, at, cut) => {
        const split = (index: number, glue: string): SessionRef => ({
          tenantId: parts.slice(0, (index % (parts.length - 1)) + 1).join(glue),
          userId: parts.slice((index % (parts.length - 1)) + 1).join(glue),
          sessionId: 'x',
        })
        for (const glue of [':', '}:{', '%3A', '|', '~', '']) {
          const [one, other] = [split(at, glue), split(cut, glue)]
          if (![one, other].every(({ tenantId, userId }) => isId(tenantId) && isId(userId))) continue
          const same = one.tenantId === other.tenantId && one.userId === other.userId
          expect(sessionKey(one) === sessionKey(other)).toBe(same)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('stay under their prefix, with one hash tag, and are printable', () => {
    fc.assert(
      fc.property(ref, (each) => {
        for (const [index, key] of keysOf(each).entries()) {
          expect(key).toMatch(shapes[index] as RegExp)
          expect(key).toMatch(/^[\x21-\x7e]+$/)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('are found again from what a refresh token says, which is never too long to be read', () => {
    fc.assert(
      fc.property(ref, (each) => {
        expect(unescapeId(escapeId(each.userId))).toBe(each.userId)
        const text = codec.format({ ...codec.first(each), generation: Number.MAX_SAFE_INTEGER })
        expect(text.length).toBeLessThanOrEqual(maxRefreshTokenLength)
        expect(sessionKey(codec.parse(text))).toBe(sessionKey(each))
      }),
      { numRuns: 500 },
    )
  })

  it('are bound into the fingerprint of a token, so that no other session has the same', () => {
    fc.assert(
      fc.property(pair, sessionId, sessionId, ([one, other], first, second) => {
        const of = (each: SessionRef, refreshId: string): string =>
          fingerprint(bindingKey, each.tenantId, each.sessionId, refreshId)
        const same = one.tenantId === other.tenantId && one.sessionId === other.sessionId && first === second
        expect(of(one, first) === of(other, second)).toBe(same)
      }),
      { numRuns: 500 },
    )
  })
})

describe('ids', () => {
  const longest = ['x'.repeat(200), 'ü'.repeat(100), '\u{1F600}'.repeat(50), '電'.repeat(66)]
  const refused: readonly (readonly [string, unknown])[] = [
    ['empty', ''],
    ['not text', 7],
    ['missing', undefined],
    ['too long', 'x'.repeat(201)],
    ['too long in bytes', '電'.repeat(67)],
    ['with a newline', 'a\nb'],
    ['with a NUL', 'a\0'],
    ['with a control character of C1', 'a\u0085'],
    ['with half a surrogate pair', 'a\uD83D'],
  ]

  it.each(refused)('that are %s are refused by name', (_name, value) => {
    expect(isId(value)).toBe(false)
    expect(() => assertId(value, 'signIn.userId')).toThrow(/^signIn\.userId: give a text of 1 to 200 bytes/)
  })

  it.each(longest)('of 200 bytes fit into a refresh token: %s', (value) => {
    expect(isId(value)).toBe(true)
    const token = codec.format(codec.first({ tenantId: value, userId: value, sessionId: 'x'.repeat(200) }))
    expect(codec.parse(token).userId).toBe(value)
  })

  it('of sessions are plain, or refused by name', () => {
    for (const value of ['', 'a:b', '{x}', 'ü', 'a b', 'a~b', 'x'.repeat(201), null]) {
      expect(isSessionId(value)).toBe(false)
      expect(() => assertSessionId(value, 'revoke.sessionId')).toThrow('revoke.sessionId')
    }
  })
})
