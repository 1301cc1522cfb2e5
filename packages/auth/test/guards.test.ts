import { describe, expect, it } from 'vitest'
import { type AccessRule, anonymous, type UserPrincipal } from '@quintet/core'
import { decideAccess, describeAccess } from '@quintet/core/kit'
import { allOf, anyOf, guard, hasPermission, hasRole, inTenant, steppedUp } from '../src/index.ts'

const user = (change: Partial<UserPrincipal> = {}): UserPrincipal => ({
  kind: 'user',
  userId: 'u',
  tenantId: 'a',
  sessionId: 's',
  roles: ['editor'],
  permissions: ['x:read', 'x:write'],
  expiresAt: null,
  claims: { aal: 2, amr: ['pwd', 'otp'], auth_time: 1_000 },
  ...change,
})

describe('guards', () => {
  const granted: readonly AccessRule[] = [
    hasRole('admin', 'editor'),
    hasPermission('x:read', 'x:write'),
    inTenant('b', 'a'),
    guard('named u', ({ userId }) => userId === 'u'),
    allOf(hasRole('editor'), inTenant('a')),
    anyOf(hasRole('admin'), inTenant('a')),
    steppedUp({ aal: 2, amr: ['otp'], maxAge: '5m' }, () => 1_000_000 + 300_000),
  ]
  const forbidden: readonly AccessRule[] = [
    hasRole('admin'),
    hasPermission('x:read', 'x:delete'),
    inTenant('b'),
    guard('truthy is not true', () => 1 as unknown as boolean),
    allOf(hasRole('editor'), inTenant('b')),
    anyOf(hasRole('admin'), inTenant('b')),
  ]

  it.each(granted.map((rule) => [describeAccess(rule), rule] as const))(
    '%s lets the right user in',
    (_name, rule) => {
      expect(decideAccess(rule, user())).toBe('granted')
      expect(decideAccess(rule, anonymous)).toBe('unauthenticated')
    },
  )

  it.each(forbidden.map((rule) => [describeAccess(rule), rule] as const))(
    '%s keeps others out',
    (_name, rule) => {
      expect(decideAccess(rule, user())).toBe('forbidden')
    },
  )

  it('ask for a step-up with what is missing', () => {
    const cases = [
      steppedUp({ aal: 3 }),
      steppedUp({ amr: ['hwk'] }),
      steppedUp({ maxAge: '5m' }, () => 1_000_000 + 300_001),
    ]
    const details = [{ aal: 3 }, { amr: ['hwk'] }, { maxAge: 300 }]
    for (const [index, rule] of cases.entries()) {
      expect(() => decideAccess(rule, user())).toThrow(
        expect.objectContaining({
          code: 'ERR_AUTH_STEP_UP_REQUIRED',
          details: { reason: 'step_up_required', ...details[index] },
        }),
      )
    }
    expect(() => steppedUp({})).toThrow('ask for')
    expect(() => steppedUp({ aal: 2, maxAeg: '5m' } as never)).toThrow('Did you mean "maxAge"?')
    expect(() => steppedUp({ aal: 4 })).toThrow('from 1 to 3')
    expect(() => decideAccess(steppedUp({ aal: 1 }), user({ claims: {} }))).toThrow('stronger')
  })

  it('ask for a step-up only where it would help', () => {
    const stronger = steppedUp({ aal: 3 })
    const admin = hasRole('admin')
    const editor = hasRole('editor')
    expect(decideAccess(anyOf(stronger, editor), user())).toBe('granted')
    expect(() => decideAccess(anyOf(stronger, admin), user())).toThrow('stronger')
    expect(decideAccess(allOf(stronger, admin), user())).toBe('forbidden')
    expect(() => decideAccess(allOf(stronger, editor), user())).toThrow('stronger')
  })
})
