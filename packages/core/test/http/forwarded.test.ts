import { describe, expect, it } from 'vitest'
import { parseAddressList, readForwarded } from '../../src/http.ts'

const proxies = parseAddressList(['10.0.0.0/8', '::1'], 'proxies')

describe('the client of a request', () => {
  it.each([
    ['a peer that is no proxy, whatever it says', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    [
      'the last address before the trusted proxies',
      '10.0.0.1',
      '198.51.100.1, 203.0.113.9, 10.0.0.2',
      '203.0.113.9',
    ],
    ['in several header lines', '10.0.0.1', ['198.51.100.1', '203.0.113.9'], '203.0.113.9'],
    ['an address with its port, as Azure and IIS write it', '10.0.0.1', '203.0.113.9:51234', '203.0.113.9'],
    ['an IPv6 address with its port', '10.0.0.1', '"[2001:DB8::1]:80"', '2001:db8::1'],
    [
      'behind a trusted hop that is written with its port',
      '10.0.0.1',
      '203.0.113.9, 10.0.0.2:80',
      '203.0.113.9',
    ],
    [
      'unknown where the proxies name none: it is not the proxy',
      '10.0.0.1',
      '198.51.100.1, unknown, 10.0.0.2',
      undefined,
    ],
    ['the proxy itself without the header', '10.0.0.1', undefined, '10.0.0.1'],
    ['an IPv6 address in its one form', '::ffff:10.0.0.1', '2001:DB8:0::1', '2001:db8::1'],
    ['none over a unix socket', undefined, '203.0.113.9', undefined],
  ])('is %s', (_, peer, forwardedFor, expected) => {
    expect(readForwarded({ 'x-forwarded-for': forwardedFor }, peer, proxies).address).toBe(expected)
  })

  it('has a chain of what is known up to the peer', () => {
    const headers = { 'x-forwarded-for': '6.6.6.6, _hidden, 10.0.0.9:80' }
    expect(readForwarded(headers, '10.0.0.1', proxies).chain).toEqual(['unknown', '10.0.0.9', '10.0.0.1'])
    expect(readForwarded(headers, '203.0.113.9', proxies).chain).toEqual(['203.0.113.9'])
  })
})

describe('how a client addressed a server', () => {
  const said = {
    'x-forwarded-proto': 'http, HTTPS',
    'x-forwarded-host': ['evil.example', 'shop.example:8443'],
    'x-forwarded-prefix': '/evil, /api/media/',
  }

  it('is what the nearest trusted proxy says, and nothing that another says', () => {
    const { protocol, host, prefix } = readForwarded(said, '10.0.0.1', proxies)
    expect([protocol, host, prefix]).toEqual(['https', 'shop.example:8443', '/api/media'])
    const other = readForwarded(said, '203.0.113.9', proxies)
    expect([other.protocol, other.host, other.prefix]).toEqual([undefined, undefined, ''])
  })

  it.each(['ftp', '', 'https x'])('has no protocol %j', (proto) => {
    expect(readForwarded({ 'x-forwarded-proto': proto }, '::1', proxies).protocol).toBeUndefined()
  })

  it.each(['a:b:c', 'a/b', 'user@host', 'a:99999', ''])('has no host %j', (host) => {
    expect(readForwarded({ 'x-forwarded-host': host }, '::1', proxies).host).toBeUndefined()
  })

  it.each(['/..', '/a/../b', '/./a', '//a', 'a', '/a@b', '/a%2fb', '/a b', `/${'a'.repeat(512)}`, '/'])(
    'has no prefix %j',
    (prefix) => {
      expect(readForwarded({ 'x-forwarded-prefix': prefix }, '::1', proxies).prefix).toBe('')
    },
  )
})
