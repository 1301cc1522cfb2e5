import { describe, expect, it } from 'vitest'
import { readRequestHeaders } from '../../src/admission/request-headers.ts'

const names = (forward: readonly string[]): string[] => forward.filter((_, index) => index % 2 === 0)

/** Raw headers from lines. */
const raw = (...lines: string[]): string[] =>
  lines.flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])

describe('readRequestHeaders', () => {
  it('forwards what is end to end and drops what concerns the connection', () => {
    const { forward, host } = readRequestHeaders(
      raw(
        'Host: example.org:8080',
        'Accept: */*',
        'Connection: keep-alive, X-Internal',
        'X-Internal: 1',
        'Keep-Alive: timeout=5',
        'TE: trailers',
        'Trailer: x',
        'Upgrade: h2c',
        'HTTP2-Settings: AAA',
        'Proxy-Connection: x',
        'Proxy-Authorization: x',
        'Expect: 100-continue',
        'Cookie: a=b',
        'Cookie: c=d',
      ),
    )
    expect(names(forward)).toEqual(['accept', 'cookie', 'cookie'])
    expect(host).toBe('example.org:8080')
  })

  it('drops every forwarding header of the client', () => {
    const { forward } = readRequestHeaders(
      raw(
        'Host: a',
        'X-Forwarded-For: 1.1.1.1',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Host: x',
        'X-Forwarded-Prefix: /x',
        'X-Forwarded-Port: 1',
        'Forwarded: for=1.1.1.1',
        'X-Real-IP: 1.1.1.1',
        'Via: x',
        'X-Request-Id: x',
      ),
    )
    expect(forward).toEqual([])
  })

  it.each([
    'X-Forwarded-Server',
    'X-Forwarded-Ssl',
    'X-Forwarded-Scheme',
    'X-Forwarded-User',
    'X-Forwarded-Uri',
    'X-Forwarded-Path',
    'X-Forwarded-Protocol',
    'X-Forwarded-Client-Cert',
    'X-Original-URL',
    'X-Original-Forwarded-For',
    'X-Rewrite-URL',
    'X-Auth-Request-Email',
    'Front-End-Https',
    'X-Client-IP',
    'True-Client-IP',
    'CF-Connecting-IP',
    'X-Host',
    'Remote-User',
    'SSL-Client-Cert',
  ])('believes %s only of a trusted proxy', (name) => {
    expect(readRequestHeaders(['Host', 'a', name, 'x']).forward).toEqual([])
    expect(readRequestHeaders(['Host', 'a', name, 'x'], { trusted: true }).forward).toEqual([
      name.toLowerCase(),
      'x',
    ])
  })

  it('does not let a client have end-to-end headers removed by naming them', () => {
    const { forward, host } = readRequestHeaders(
      raw(
        'Host: a',
        'Connection: host, content-length, authorization, cookie',
        'Content-Length: 3',
        'Authorization: Bearer x',
        'Cookie: y',
      ),
    )
    expect(names(forward)).toEqual(['authorization', 'cookie'])
    expect(host).toBe('a')
  })

  it('drops the header that it is told to', () => {
    expect(
      readRequestHeaders(['Host', 'a', 'X-Maintenance-Token', 's'], { dropped: 'x-maintenance-token' })
        .forward,
    ).toEqual([])
  })

  it('derives whether a body follows from the framing', () => {
    expect(readRequestHeaders(['Host', 'a'])).toMatchObject({ hasBody: false, contentLength: undefined })
    expect(readRequestHeaders(['Host', 'a', 'Content-Length', '0'])).toMatchObject({
      hasBody: false,
      contentLength: 0,
    })
    expect(readRequestHeaders(['Host', 'a', 'Content-Length', '7'])).toMatchObject({
      hasBody: true,
      contentLength: 7,
    })
    expect(readRequestHeaders(['Host', 'a', 'Transfer-Encoding', 'Chunked'])).toMatchObject({
      hasBody: true,
      contentLength: undefined,
    })
  })

  it.each([
    ['two hosts', ['Host', 'a', 'Host', 'a']],
    ['two credentials', ['Host', 'a', 'Authorization', 'Bearer a', 'Authorization', 'Bearer b']],
    ['two lengths', ['Host', 'a', 'Content-Length', '1', 'Content-Length', '1']],
    ['both framings', ['Host', 'a', 'Content-Length', '1', 'Transfer-Encoding', 'chunked']],
    [
      'both framings, the other way round',
      ['Host', 'a', 'Transfer-Encoding', 'chunked', 'Content-Length', '1'],
    ],
    ['two transfer codings', ['Host', 'a', 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
    ['an underscore', ['Host', 'a', 'Transfer_Encoding', 'chunked']],
    ['a length with a sign', ['Host', 'a', 'Content-Length', '+1']],
    ['a list of lengths', ['Host', 'a', 'Content-Length', '1, 1']],
    ['a host with a path', ['Host', 'a/b']],
    ['a host with credentials', ['Host', 'a@b']],
    ['an empty host', ['Host', '']],
  ])('refuses %s', (_name, raw) => {
    expect(() => readRequestHeaders(raw)).toThrow(
      expect.objectContaining({ code: 'ERR_GATEWAY_BAD_REQUEST', kind: 'invalid-input' }),
    )
  })

  it.each(['gzip', 'gzip, chunked', 'chunked, identity', 'xchunked', 'identity'])(
    'refuses the transfer coding %s',
    (coding) => {
      expect(() => readRequestHeaders(['Host', 'a', 'Transfer-Encoding', coding])).toThrow(
        expect.objectContaining({ code: 'ERR_GATEWAY_NOT_IMPLEMENTED' }),
      )
    },
  )
})
