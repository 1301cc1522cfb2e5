import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonAnswer, sendRaw } from '../support/raw.ts'
import { serve, type Served } from '../support/serve.ts'

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])

async function expectAlive(app: Served): Promise<void> {
  expect((await app.post('/rpc/math/add', { a: 1, b: 2 })).status).toBe(200)
}

describe('a hostile client', () => {
  it.each([
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['two equal hosts', 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['a host that is none', 'GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n'],
    ['a host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'],
    ['two lengths', 'POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    [
      'a length and a coding',
      'POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'an underscored coding',
      'POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer_Encoding: chunked\r\n\r\n{}',
    ],
    [
      'two authorizations',
      'POST /rpc/math/mine HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n',
    ],
    ['bad percent-encoding', 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['half a percent-encoding', 'GET /x% HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['percent-encoded bytes that are no UTF-8', 'GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an encoded NUL', 'GET /x%00 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a dot segment', 'GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an encoded dot segment', 'GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a dot segment between encoded slashes', 'GET /a/..%2f..%2Fb HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a dot segment between encoded backslashes', 'GET /a%5c.%2e%5Cb HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a host with a port that is none', 'GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n'],
    ['a host with an address that is none', 'GET / HTTP/1.1\r\nHost: [:::::]\r\n\r\n'],
    ['a URL of another protocol', 'GET ftp://a/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a URL with a user', 'GET http://me:you@a/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a backslash', 'GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a URL of another host', 'GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an asterisk', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['no HTTP at all', 'hello\r\n\r\n'],
    ['TLS', Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])],
    [
      'a bad chunk',
      'POST /rpc/math/add HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    ],
  ])('that sends %s gets a 4xx and loses the connection', async (_what, bytes) => {
    await using app = await serve()
    const answer = await sendRaw(app.url, bytes)
    expect(statusOf(answer)).toBeGreaterThanOrEqual(400)
    expect(statusOf(answer)).toBeLessThan(500)
    await expectAlive(app)
  })

  it('that sends TRACE or CONNECT is refused', async () => {
    await using app = await serve()
    const trace = await sendRaw(app.url, 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n', jsonAnswer)
    expect(statusOf(trace)).toBe(501)
    const connect = await sendRaw(app.url, 'CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(statusOf(connect)).toBe(501)
    expect(connect).toContain('"code":"ERR_SERVER_METHOD_UNKNOWN"')
    await expectAlive(app)
  })

  it('that compresses its body for the way is refused with 501', async () => {
    await using app = await serve()
    const answer = await sendRaw(
      app.url,
      'POST /rpc/math/nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      jsonAnswer,
    )
    expect(statusOf(answer)).toBe(501)
    expect(answer).toContain('ERR_SERVER_CODING_UNSUPPORTED')
  })

  it('that sends too many headers gets 431', async () => {
    await using app = await serve()
    const answer = await sendRaw(app.url, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)
    expect(statusOf(answer)).toBe(431)
    await expectAlive(app)
  })

  it('that names the server by a URL of it is served', async () => {
    await using app = await serve()
    const answer = await sendRaw(app.url, 'GET http://a/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n', jsonAnswer)
    expect(statusOf(answer)).toBe(200)
  })

  it('that expects something impossible gets 417', async () => {
    await using app = await serve()
    const answer = await sendRaw(
      app.url,
      'POST /rpc HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nConnection: close\r\n\r\n',
    )
    expect(statusOf(answer)).toBe(417)
    expect(answer).toContain('ERR_SERVER_EXPECTATION_FAILED')
    expect(answer).toMatch(/x-content-type-options/i)
  })

  it('that waits to be asked for a body is not asked before it may call', async () => {
    await using app = await serve()
    const head = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n`
    const refused = await sendRaw(app.url, head('/rpc/math/mine'), jsonAnswer)
    expect(statusOf(refused)).toBe(401)
    const asked = await sendRaw(app.url, `${head('/rpc/math/add')}{"a":1,"b":2}`, jsonAnswer)
    expect(asked).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
    const old = await sendRaw(
      app.url,
      `${head('/rpc/math/add').replace('HTTP/1.1', 'HTTP/1.0')}{"a":1,"b":2}`,
      jsonAnswer,
    )
    expect(old).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it('that sends more than it may gets 413, declared or not, and is not read to the end', async () => {
    await using app = await serve()
    const declared =
      'POST /rpc/math/add HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n'
    expect(statusOf(await sendRaw(app.url, declared))).toBe(413)
    const piece = `10000\r\n${'x'.repeat(65_536)}\r\n`
    const chunked = `POST /rpc/math/add HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${piece}${piece}`
    expect(statusOf(await sendRaw(app.url, chunked))).toBe(413)
    await expectAlive(app)
  })

  it('that sends its body too slowly gets 408', async () => {
    await using app = await serve({ requestTimeout: 150, headersTimeout: 100 })
    const answer = await sendRaw(
      app.url,
      'POST /rpc/math/add HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"a"',
      jsonAnswer,
    )
    expect(statusOf(answer)).toBe(408)
  })

  it('that sends its headers too slowly gets 408', async () => {
    await using app = await serve({ headersTimeout: 100 })
    expect(statusOf(await sendRaw(app.url, 'GET / HTTP/1.1\r\nHost:'))).toBe(408)
  })

  it('never gets a 5xx or ends the process, whatever it sends', async () => {
    await using app = await serve({ requestTimeout: 200, headersTimeout: 200 })
    const line = fc.constantFrom(
      ...[
        'GET / HTTP/1.1',
        'POST /rpc/math/add HTTP/1.1',
        'POST /rpc HTTP/1.1',
        'GET /%',
        'PUT /docs HTTP/1.0',
        'X',
      ],
      ...[
        'Host: a',
        'Host:',
        'Content-Length: 5',
        'Content-Length: -1',
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: x',
      ],
      ...[
        'Content-Type: application/json',
        'Expect: 100-continue',
        'Upgrade: websocket',
        'Connection: upgrade',
        'Authorization: Bearer \u0001',
      ],
      ...['', '{"a":1}', '5', '[]', '\u0000', 'X: \u00ff'],
    )
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 8 }), async (lines) => {
        const answer = await sendRaw(app.url, `${lines.join('\r\n')}\r\n\r\n`, /\r\n\r\n/)
        const status = statusOf(answer)
        if (answer !== '' && status !== 501) expect(status).toBeLessThan(500)
      }),
      { numRuns: 150, timeout: 20_000, endOnFailure: true, interruptAfterTimeLimit: 8_000 },
    )
    await expectAlive(app)
  })
})
