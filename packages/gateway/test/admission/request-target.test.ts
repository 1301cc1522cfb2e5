import { describe, expect, it } from 'vitest'
import { parseRequestTarget } from '../../src/admission/request-target.ts'

describe('parseRequestTarget', () => {
  it.each([
    ['/', '/', ''],
    ['/api/media/objects/7', '/api/media/objects/7', ''],
    ['/a.b/c..d/.well-known/x.jpg', '/a.b/c..d/.well-known/x.jpg', ''],
    ['/a?b=../..&c=%2e', '/a', '?b=../..&c=%2e'],
    ['/api/%6dedia/%7Eme', '/api/media/~me', ''],
    ['/keys/a%2Fb%20c', '/keys/a%2Fb%20c', ''],
    ['/a//b', '/a//b', ''],
  ])('reads %s', (target, path, query) => {
    expect(parseRequestTarget(target)).toEqual({ path, query, authority: undefined })
  })

  it('reads the absolute form', () => {
    expect(parseRequestTarget('http://example.org:81/a?b')).toEqual({
      path: '/a',
      query: '?b',
      authority: 'example.org:81',
    })
    expect(parseRequestTarget('http://example.org')).toEqual({
      path: '/',
      query: '',
      authority: 'example.org',
    })
    expect(parseRequestTarget('HTTP://example.org?q')).toEqual({
      path: '/',
      query: '?q',
      authority: 'example.org',
    })
  })

  it.each([
    '/api/../admin',
    '/api/./x',
    '/..',
    '/api/%2e%2e/admin',
    '/api/%2E./admin',
    '/api/..%2fadmin',
    '/api/..%5cadmin',
    '/api/x%2f..%2fadmin',
    '/api/..;/admin',
    '/api/..%3bx/admin',
    '/api\\admin',
    '//evil.example/x',
    '/a%00b',
    '/a#b',
    '/a b',
    '/a\u00e9',
    '/%zz',
    '/a/%2',
    '*',
    'api/media',
    'ftp://example.org/',
    'http://user@example.org/',
    '',
  ])('refuses %j', (target) => {
    expect(() => parseRequestTarget(target)).toThrow(
      expect.objectContaining({ code: 'ERR_GATEWAY_BAD_REQUEST' }),
    )
  })

  it('never lets a dot segment through, however it is spelled', () => {
    const dots = ['.', '%2e', '%2E']
    const slashes = ['/', '%2f', '%2F', '%5c', '\\']
    for (const first of dots) {
      for (const second of [...dots, '']) {
        for (const before of slashes) {
          for (const after of [...slashes, '']) {
            expect(() =>
              parseRequestTarget(
                `/a${before}${first}${second}${after}b`.replace(/b$/, after === '' ? '' : 'b'),
              ),
            ).toThrow()
          }
        }
      }
    }
  })
})
