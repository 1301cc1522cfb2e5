import { describe, expect, it } from 'vitest'
import { assertName, nearestKey, refuseUnknownKeys } from '../../src/kit.ts'

describe('refuseUnknownKeys', () => {
  it('names each unknown key with the nearest known one', () => {
    expect(() => refuseUnknownKeys({ prot: 1, host: '', x: 1 }, ['port', 'host'], 'http')).toThrow(
      'http: unknown key "prot". Did you mean "port"?\nhttp: unknown key "x". Known keys: port, host.',
    )
    refuseUnknownKeys({ port: 1 }, ['port', 'host'], 'http')
  })

  it('finds a slip of the pen, and nothing far away', () => {
    expect(nearestKey('requestTimout', ['requestTimeout', 'headersTimeout'])).toBe('requestTimeout')
    expect(nearestKey('REQUESTTIMEOUT', ['requestTimeout'])).toBe('requestTimeout')
    expect(nearestKey('colour', ['port'])).toBeUndefined()
  })
})

describe('assertName', () => {
  it.each(['list', 'list-all', 'listAll2', 'a', 'a'.repeat(64)])('takes %s', (name) => {
    assertName(name, 'service')
  })

  it.each([
    '',
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'then',
    '1st',
    '-a',
    'a.b',
    'a/b',
    'a b',
    'ä',
    'a'.repeat(65),
    undefined,
    7,
  ])('refuses %j', (name) => {
    expect(() => assertName(name, 'service')).toThrow(/^service: /)
  })
})
