import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ErrorKind, QuintetError } from '@quintet/core'
import { AuthError, toChallenge, type AuthErrorCode } from '../../src/index.ts'

describe('toChallenge', () => {
  const cases: readonly [AuthErrorCode, number, string | undefined][] = [
    ['ERR_AUTH_CREDENTIALS_MISSING', 401, undefined],
    ['ERR_AUTH_CREDENTIALS_AMBIGUOUS', 400, 'invalid_request'],
    ['ERR_AUTH_CREDENTIALS_MALFORMED', 400, 'invalid_request'],
    ['ERR_AUTH_TOKEN_INVALID', 401, 'invalid_token'],
    ['ERR_AUTH_TOKEN_EXPIRED', 401, 'invalid_token'],
    ['ERR_AUTH_TOKEN_SUPERSEDED', 401, 'invalid_token'],
    ['ERR_AUTH_SESSION_COLD', 401, 'invalid_token'],
    ['ERR_AUTH_SESSION_REVOKED', 401, 'invalid_token'],
    ['ERR_AUTH_FORBIDDEN', 403, 'insufficient_scope'],
    ['ERR_AUTH_DPOP_INVALID', 401, 'invalid_dpop_proof'],
    ['ERR_AUTH_DPOP_NONCE_REQUIRED', 401, 'use_dpop_nonce'],
    ['ERR_AUTH_STEP_UP_REQUIRED', 403, 'insufficient_user_authentication'],
  ]

  it.each(cases)('answers %s with %i and %s', (code, status, error) => {
    const challenge = toChallenge(new AuthError(code))
    expect(challenge.status).toBe(status)
    expect(/error="(\w+)"/.exec(challenge.headers['www-authenticate'] ?? '')?.[1]).toBe(error)
  })

  it('has a challenge in every 401', () => {
    const kinds: ErrorKind[] = ['unauthenticated']
    for (const kind of kinds) {
      const error = new QuintetError('x', { code: 'ERR_CORE_UNAUTHENTICATED', kind })
      expect(toChallenge(error).headers['www-authenticate']).toBe('Bearer realm="api"')
    }
  })

  it('asks for time, and for nothing else, when the check is not possible or not allowed now', () => {
    expect(toChallenge(new AuthError('ERR_AUTH_UNAVAILABLE'))).toEqual({
      status: 503,
      headers: { 'retry-after': '1' },
    })
    for (const kind of ['closed', 'unavailable'] as const) {
      const error = new QuintetError('x', { code: 'ERR_APP_X', kind })
      expect(toChallenge(error)).toEqual({ status: 503, headers: { 'retry-after': '1' } })
    }
    // What fails in a handler has the status that it has on every surface.
    for (const [kind, status] of [
      ['timeout', 504],
      ['canceled', 499],
    ] as const) {
      const error = new QuintetError('x', { code: 'ERR_APP_X', kind })
      expect(toChallenge(error)).toEqual({ status, headers: {} })
    }
    expect(new AuthError('ERR_AUTH_UNAVAILABLE').retryAfter).toBe(1_000)
    expect(toChallenge(new AuthError('ERR_AUTH_THROTTLED', { retryAfter: 1_200 }))).toEqual({
      status: 429,
      headers: { 'retry-after': '2' },
    })
    expect(toChallenge(new Error('bug'))).toEqual({ status: 500, headers: {} })
    expect(toChallenge(new AuthError('ERR_AUTH_CSRF_REFUSED'))).toEqual({ status: 403, headers: {} })
  })

  it('speaks the scheme of the client and names the realm', () => {
    const { headers } = toChallenge(new AuthError('ERR_AUTH_TOKEN_INVALID'), { scheme: 'DPoP', realm: 'a"b' })
    expect(headers['www-authenticate']).toBe(
      'DPoP realm="ab", error="invalid_token", error_description="The access token was not accepted.", algs="Ed25519 ES256"',
    )
  })

  it('is a header whatever the message, the realm and the nonce are', () => {
    const strange = fc.string({ unit: 'binary' })
    fc.assert(
      fc.property(strange, strange, strange, (message, realm, nonce) => {
        for (const [code, kind] of [
          ['ERR_APP_X', 'forbidden'],
          ['ERR_APP_X', 'unauthenticated'],
          ['ERR_AUTH_CREDENTIALS_MALFORMED', 'invalid-input'],
          ['ERR_AUTH_DPOP_NONCE_REQUIRED', 'unauthenticated'],
        ] as const) {
          const { headers } = toChallenge(new QuintetError(message, { code, kind, details: { nonce } }), {
            realm,
          })
          for (const value of Object.values(headers)) expect(value).toMatch(/^[\x20-\x7e]*$/)
          expect(headers['www-authenticate']).toMatch(/^Bearer \w+="[^"\\]*"(?:, \w+="[^"\\]*")*$/)
        }
      }),
    )
  })

  it('is short, however long the message is', () => {
    for (const kind of ['forbidden', 'unauthenticated', 'invalid-input'] as const) {
      const error = new QuintetError('x'.repeat(30_000), { code: 'ERR_AUTH_X', kind })
      expect(toChallenge(error).headers['www-authenticate']?.length).toBeLessThan(300)
    }
  })

  it('has nothing to say of what is wrong with a request beside its credentials', () => {
    const error = new QuintetError('body.name: is missing.', { code: 'ERR_APP_X', kind: 'invalid-input' })
    expect(toChallenge(error)).toEqual({ status: 400, headers: {} })
  })

  it('refuses options that it does not know', () => {
    expect(() => toChallenge(new Error('x'), { relm: 'x' } as never)).toThrow('Did you mean "realm"?')
  })

  it('gives the nonce, and what a step-up must reach', () => {
    const nonce = toChallenge(new AuthError('ERR_AUTH_DPOP_NONCE_REQUIRED', { details: { nonce: 'n1' } }))
    expect(nonce.headers['dpop-nonce']).toBe('n1')
    const step = toChallenge(new AuthError('ERR_AUTH_STEP_UP_REQUIRED', { details: { aal: 2, maxAge: 300 } }))
    expect(step.headers['www-authenticate']).toContain('acr_values="aal2", max_age="300"')
  })
})
