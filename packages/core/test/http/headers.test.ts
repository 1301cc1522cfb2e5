import { describe, expect, it } from 'vitest'
import {
  apiSecurityHeaders,
  canonicalAddress,
  isHost,
  networkOf,
  offeredProtocols,
  parseAddressList,
  requestIdOf,
  resolveSecurityHeaders,
} from '../../src/http.ts'

describe('parseAddressList', () => {
  const list = parseAddressList(['10.0.0.0/8', '192.168.1.7', 'fd00::/8', '::1'], 'proxies')

  it.each([
    ['10.1.2.3', true],
    ['11.1.2.3', false],
    ['192.168.1.7', true],
    ['192.168.1.8', false],
    ['fd12::1', true],
    ['fe80::1%eth0', false],
    ['fd12::1%eth0', true],
    ['::ffff:10.0.0.7', true],
    ['::FFFF:10.0.0.7', true],
    ['::ffff:11.0.0.7', false],
    ['unknown', false],
    ['', false],
    [undefined, false],
  ])('decides over %s', (address, expected) => {
    expect(list.has(address)).toBe(expected)
  })

  it.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '::/129', 'localhost', '10.0.0', ''])(
    'refuses %j',
    (entry) => {
      expect(() => parseAddressList([entry], 'proxies')).toThrow(
        /^proxies: .* is neither an IP address nor a network/,
      )
    },
  )

  it('holds nothing when it is empty', () => {
    expect(parseAddressList([], 'proxies').has('127.0.0.1')).toBe(false)
  })
})

describe('canonicalAddress', () => {
  it.each([
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['::ffff:a00:7', '10.0.0.7'],
    ['0:0:0:0:0:ffff:10.0.0.7', '10.0.0.7'],
    [' 10.0.0.7 ', '10.0.0.7'],
    ['localhost', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('makes %s %s', (given, expected) => {
    expect(canonicalAddress(given)).toBe(expected)
  })
})

describe('networkOf', () => {
  it.each([
    ['10.0.0.7', '10.0.0.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8::/64'],
    ['::1', '::/64'],
    ['unknown', 'unknown'],
  ])('counts %s as %s', (given, expected) => {
    expect(networkOf(given)).toBe(expected)
  })
})

describe('requestIdOf', () => {
  it('keeps an id that is fit to be logged, and makes one otherwise', () => {
    expect(requestIdOf('a-1.b:c_d')).toBe('a-1.b:c_d')
    for (const given of ['', 'a b', 'a\nb', 'x'.repeat(129), undefined, ['a'], 7]) {
      expect(requestIdOf(given)).toMatch(/^[\da-f-]{36}$/)
    }
  })
})

describe('isHost', () => {
  it.each(['a.example', 'A.example:8080', '[::1]:80', '127.0.0.1', 'a~b_c-d'])('takes %s', (host) => {
    expect(isHost(host)).toBe(true)
  })
  it.each(['', 'a b', 'a.example/x', 'a@b', 'a.example:', 'a.example:123456', 'a,b', 'user@host'])(
    'refuses %j',
    (host) => {
      expect(isHost(host)).toBe(false)
    },
  )
})

describe('offeredProtocols', () => {
  it('tells the protocols from the tokens', () => {
    expect(offeredProtocols('quintet.rpc.v1, bearer.abc.def ,, other')).toEqual({
      names: ['quintet.rpc.v1', 'other'],
      tokens: ['abc.def'],
    })
    expect(offeredProtocols('bearer.a, bearer.b').tokens).toEqual(['a', 'b'])
    expect(offeredProtocols(undefined)).toEqual({ names: [], tokens: [] })
  })
})

describe('resolveSecurityHeaders', () => {
  const resolve = (headers: Parameters<typeof resolveSecurityHeaders>[0]): readonly string[] =>
    resolveSecurityHeaders(headers, apiSecurityHeaders, 'http.securityHeaders')

  it('lays headers over the defaults, drops one, or drops all', () => {
    expect(resolve(undefined)).toEqual(Object.entries(apiSecurityHeaders).flat())
    expect(resolve({ 'Referrer-Policy': 'origin', 'content-security-policy': false, 'x-own': '1' })).toEqual([
      'x-content-type-options',
      'nosniff',
      'referrer-policy',
      'origin',
      'x-own',
      '1',
    ])
    expect(resolve(false)).toEqual([])
  })

  it.each([[{ 'a b': 'x' }], [{ a: 'x\r\ny: z' }], [{ a: 'x\0' }], [{ a: '…' }], [{ a: 7 as never }]])(
    'refuses %j, which Node would refuse for every answer',
    (headers) => {
      expect(() => resolve(headers)).toThrow(/^http\.securityHeaders: /)
    },
  )
})
