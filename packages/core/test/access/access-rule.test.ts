import { describe, expect, it } from 'vitest'
import { anonymous, systemPrincipal, type AccessRule } from '../../src/index.ts'
import { assertAccessRule, decideAccess, describeAccess } from '../../src/kit.ts'
import { testUser } from '../../src/testing.ts'

const callers = {
  nobody: anonymous,
  user: testUser(),
  admin: testUser({ roles: ['admin'], permissions: ['a', 'b'] }),
  half: testUser({ permissions: ['a'] }),
  system: systemPrincipal('jobs'),
}

const table: readonly (readonly [string, AccessRule, Record<keyof typeof callers, string>])[] = [
  [
    'public',
    'public',
    { nobody: 'granted', user: 'granted', admin: 'granted', half: 'granted', system: 'granted' },
  ],
  [
    'authenticated',
    'authenticated',
    { nobody: 'unauthenticated', user: 'granted', admin: 'granted', half: 'granted', system: 'forbidden' },
  ],
  [
    'system',
    'system',
    {
      nobody: 'unauthenticated',
      user: 'forbidden',
      admin: 'forbidden',
      half: 'forbidden',
      system: 'granted',
    },
  ],
  [
    'role admin or editor',
    { roles: ['admin', 'editor'] },
    {
      nobody: 'unauthenticated',
      user: 'forbidden',
      admin: 'granted',
      half: 'forbidden',
      system: 'forbidden',
    },
  ],
  [
    'permission a and b',
    { permissions: ['a', 'b'] },
    {
      nobody: 'unauthenticated',
      user: 'forbidden',
      admin: 'granted',
      half: 'forbidden',
      system: 'forbidden',
    },
  ],
  [
    'only admins',
    { allow: ({ roles }) => roles.includes('admin'), description: 'only admins' },
    {
      nobody: 'unauthenticated',
      user: 'forbidden',
      admin: 'granted',
      half: 'forbidden',
      system: 'forbidden',
    },
  ],
]

describe.each(table)('the rule %s', (description, rule, expected) => {
  it.each(Object.entries(callers))('decides about %s', (name, principal) => {
    expect(decideAccess(rule, principal)).toBe(expected[name as keyof typeof callers])
  })

  it('is a rule, and says what it is', () => {
    assertAccessRule(rule, 'x')
    expect(describeAccess(rule)).toBe(description)
  })
})

describe('a predicate', () => {
  it('grants with true alone', () => {
    const truthy = { allow: () => 1 as unknown as boolean, description: '' }
    expect(decideAccess(truthy, callers.user)).toBe('forbidden')
  })
})

describe('assertAccessRule', () => {
  it.each([
    [undefined, 'declares no access rule'],
    ['publik', "Did you mean 'public'?"],
    [null, 'must be one of'],
    [{}, 'must be one of'],
    [{ roles: [] }, 'must be one of'],
    [{ roles: [''] }, 'must be one of'],
    [{ roles: ['a'], permissions: ['b'] }, 'must be one of'],
    [{ allow: () => true }, 'must be one of'],
    [() => true, 'must be one of'],
  ])('refuses %j', (rule, message) => {
    expect(() => assertAccessRule(rule, 'objects.list')).toThrow(message)
    expect(() => assertAccessRule(rule, 'objects.list')).toThrow('objects.list: ')
  })
})

it('lets a machine do what its permissions say, and nothing that any user may', () => {
  const machine = testUser({ userId: 'm', permissions: ['a'], claims: { client_id: 'm' } })
  expect(decideAccess('authenticated', machine)).toBe('forbidden')
  expect(decideAccess({ permissions: ['a'] }, machine)).toBe('granted')
  expect(decideAccess({ permissions: ['b'] }, machine)).toBe('forbidden')
  expect(decideAccess('public', machine)).toBe('granted')
})
