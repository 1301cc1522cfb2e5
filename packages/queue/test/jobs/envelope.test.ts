import fc from 'fast-check'
import { anonymous, systemPrincipal } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { describe, expect, it } from 'vitest'
import { createEnvelopeSigner } from '../../src/jobs/envelope.ts'

const secret = 'a-secret-of-more-than-32-characters!'
const signer = createEnvelopeSigner(secret)
const address = { prefix: 'quintet', job: 'echo', id: 'id-1' }
const throughRedis = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('envelope', () => {
  it('opens with the same payload and principal after its way through JSON, whatever they are', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.string(),
        fc.string(),
        fc.array(fc.string()),
        (payload, tenantId, userId, roles) => {
          const principal = testUser({ tenantId, userId, roles })
          const envelope = signer.seal(address, principal, JSON.stringify(payload))
          const opened = signer.open(address, throughRedis(envelope))
          expect(opened.payload).toEqual(throughRedis(payload))
          expect(opened.principal).toEqual({ ...principal, sessionId: null })
        },
      ),
    )
  })

  it('opens nothing that was changed anywhere', () => {
    const envelope = signer.seal(address, testUser(), '{"amount":100,"to":["a","b"]}')
    const text = JSON.stringify(envelope)
    fc.assert(
      fc.property(
        fc.nat({ max: text.length - 1 }),
        fc.string({ minLength: 1, maxLength: 1 }),
        (at, character) => {
          const changed = text.slice(0, at) + character + text.slice(at + 1)
          let parsed: unknown
          try {
            parsed = JSON.parse(changed)
          } catch {
            return
          }
          // The last character of the signature has bits that mean nothing.
          if (JSON.stringify(parsed) === text || sameBytes(parsed, envelope.mac)) return
          expect(() => signer.open(address, parsed)).toThrow('The envelope was refused')
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('carries the system and nobody as well, and freezes whom it carries', () => {
    for (const principal of [systemPrincipal('sweep', 'tenant-a'), systemPrincipal('sweep'), anonymous]) {
      const opened = signer.open(address, throughRedis(signer.seal(address, principal, 'null')))
      expect(opened.principal).toEqual(principal)
      expect(Object.isFrozen(opened.principal)).toBe(true)
    }
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a list', []],
    ['an unknown version', { v: 2, ctx: {}, payload: 1, mac: 'x' }],
    ['no signature', { v: 1, ctx: {}, payload: 1 }],
    ['no context', { v: 1, payload: 1, mac: 'x' }],
    ['a context of the wrong shape', { v: 1, ctx: { kind: 'user', roles: 'admin' }, payload: 1, mac: 'x' }],
  ])('refuses %s', (_what, data) => {
    expect(() => signer.open(address, data)).toThrow(
      expect.objectContaining({ code: 'ERR_QUEUE_BAD_ENVELOPE' }) as Error,
    )
  })

  it('tells nothing of the secret', () => {
    expect(JSON.stringify(signer)).not.toContain(secret)
    expect(() => createEnvelopeSigner('a-short-secret')).toThrow(/^(?!.*a-short-secret)/)
  })
})

function sameBytes(value: unknown, mac: string): boolean {
  const given = (value as { mac?: unknown }).mac
  return typeof given === 'string' && Buffer.from(given, 'base64url').equals(Buffer.from(mac, 'base64url'))
}
