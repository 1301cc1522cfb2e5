import { describe, expect, it } from 'vitest'
import type { ExchangePlan } from '../../src/exchange/exchange-host.ts'
import { requestHead } from '../../src/exchange/request-head.ts'

function head(method: string, plan: Partial<ExchangePlan>): string {
  const rest = { path: '/x', headers: ['host', 'a'], hasBody: false, chunked: false, upgrade: false }
  return requestHead(method, { ...rest, ...plan } as ExchangePlan)
}

describe('the head of a request for an upstream', () => {
  it.each([
    ['GET', {}, 'GET /x HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n'],
    ['POST', {}, 'POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n'],
    [
      'DELETE',
      { hasBody: true, chunked: true },
      'DELETE /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n',
    ],
    [
      'GET',
      { upgrade: true },
      'GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    ],
  ])('says how it is delimited: %s %j', (method, plan, expected) => {
    expect(head(method, plan)).toBe(expected)
  })

  it.each([
    ['GET', { path: '/x\r\n' }],
    ['GET', { path: '/\u010a' }],
    ['GET', { headers: ['a', 'b\r\nc: d'] }],
    ['GET', { headers: ['a', 'b\rc: d'] }],
    ['GET', { headers: ['a', 'b\nc: d'] }],
    ['GET', { headers: ['a', 'b\u0000'] }],
    ['GET', { headers: ['a', '\u010d\u010ac: d'] }],
    ['GET', { headers: ['a\r\nb', 'c'] }],
    ['GET /\r\n', {}],
  ])('is never written where a part of it could end its line: %s %j', (method, plan) => {
    expect(() => head(method, plan)).toThrow(/control character/)
  })
})
