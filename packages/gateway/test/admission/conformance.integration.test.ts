import { createServer } from 'node:http'
import { connect } from 'node:net'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appRoute, startGateway, type TestGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer, statusOf, type RawServer } from '../support/raw.ts'

const whole = (received: string): boolean => received.includes('\r\n\r\n') && received.includes('hello')

describe('a request that two servers could read in two ways', () => {
  let upstream: RawServer
  let gateway: TestGateway

  beforeAll(async () => {
    upstream = await startRawServer((socket, received) => {
      if (received.endsWith('\r\n\r\n'))
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello')
    })
    gateway = await startGateway({ routes: [appRoute([upstream.url])] })
  })

  afterAll(async () => {
    await gateway.close()
    await upstream[Symbol.asyncDispose]()
  })

  const mutations: readonly (readonly [string, string])[] = [
    ['both framings', 'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG'],
    ['both framings, coding first', 'Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG'],
    ['two lengths that agree', 'Content-Length: 1\r\nContent-Length: 1\r\n\r\nG'],
    ['two lengths that differ', 'Content-Length: 1\r\nContent-Length: 0\r\n\r\nG'],
    ['a list of lengths', 'Content-Length: 1, 1\r\n\r\nG'],
    ['a signed length', 'Content-Length: +1\r\n\r\nG'],
    ['a negative length', 'Content-Length: -1\r\n\r\nG'],
    ['a hexadecimal length', 'Content-Length: 0x1\r\n\r\nG'],
    ['a length with an underscore in its name', 'Content_Length: 5\r\nContent-Length: 0\r\n\r\n'],
    ['a coding with an underscore in its name', 'Transfer_Encoding: chunked\r\n\r\n'],
    ['an unknown coding', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['chunked and identity', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['gzip and chunked', 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a quoted coding', 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n'],
    ['a tab before the value of the coding', 'Transfer-Encoding:\tchunked, x\r\n\r\n0\r\n\r\n'],
    ['a vertical tab in the value', 'Transfer-Encoding: \u000bchunked\r\n\r\n0\r\n\r\n'],
    ['a bare line feed', 'X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a bare carriage return', 'X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a NUL in a value', 'X: y\u0000z\r\n\r\n'],
    ['a second host', 'Host: b\r\n\r\n'],
    ['a chunk size with a sign', 'Transfer-Encoding: chunked\r\n\r\n+1\r\nG\r\n0\r\n\r\n'],
    ['a chunk size with a prefix', 'Transfer-Encoding: chunked\r\n\r\n0x1\r\nG\r\n0\r\n\r\n'],
    ['a chunk that is longer than its size', 'Transfer-Encoding: chunked\r\n\r\n1\r\nGG\r\n0\r\n\r\n'],
    ['a chunk size that overflows', `Transfer-Encoding: chunked\r\n\r\n${'f'.repeat(20)}\r\nG\r\n0\r\n\r\n`],
  ]

  it.each(mutations)('is refused: %s', async (_name, rest) => {
    const before = upstream.received.length
    const answer = await exchangeRaw(gateway.url, `POST /api/app/ HTTP/1.1\r\nHost: a\r\n${rest}`)
    expect([400, 501]).toContain(statusOf(answer))
    expect(answer).toContain('application/problem+json')
    expect(answer.toLowerCase()).toContain('connection: close')
    // A body that turns out to be malformed has already begun to flow; it must not have been ended well.
    expect(upstream.received.slice(before)).not.toMatch(/\r\n0\r\n\r\n$/)
  })

  it.each([
    ['no host', 'GET /api/app/ HTTP/1.1\r\n\r\n', 400],
    ['a malformed host', 'GET /api/app/ HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
    ['a port that cannot be', 'GET /api/app/ HTTP/1.1\r\nHost: a:99999\r\n\r\n', 400],
    ['an absolute target of another scheme', 'GET ftp://a/api/app/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    [
      'an absolute target with a port that cannot be',
      'GET http://a:99999/api/app/ HTTP/1.1\r\nHost: a\r\n\r\n',
      400,
    ],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2p1\r\n', 400],
    ['CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n', 501],
    ['a dot segment', 'GET /api/app/../other HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['an escaped dot segment', 'GET /api/app/%2e%2e/other HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['an escaped slash around one', 'GET /api/app/..%2fother HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a path that would become an authority', 'GET /api/app//evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    [
      'chunks in HTTP/1.0',
      'POST /api/app/ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
      400,
    ],
    ['a version that is none of HTTP/1', 'GET /api/app/ HTTP/2.0\r\nHost: a\r\n\r\n', 400],
    ['an old version', 'GET /api/app/ HTTP/0.9\r\n\r\n', 400],
    ['a probe with two hosts', 'GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['a probe of another method', 'POST /readyz HTTP/1.1\r\nHost: a\r\n\r\n', 404],
    ['TRACE', 'TRACE /api/app/ HTTP/1.1\r\nHost: a\r\n\r\n', 501],
    ['an expectation that is not known', 'GET /api/app/ HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n', 400],
    [
      'headers of more than 16 KiB',
      `GET /api/app/ HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`,
      431,
    ],
  ])('is refused: %s', async (_name, request, status) => {
    const before = upstream.received.length
    expect(
      statusOf(await exchangeRaw(gateway.url, request, (received) => received.includes('\r\n\r\n'))),
    ).toBe(status)
    expect(upstream.received.length).toBe(before)
  })

  it.each(['/livez?x=1', 'http://a/readyz', '/%6civez'])('is a probe: %s', async (target) => {
    const answer = await exchangeRaw(gateway.url, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, (received) =>
      received.endsWith('}'),
    )
    expect(statusOf(answer)).toBe(200)
  })

  it('takes the authority of an absolute target for the host', async () => {
    const before = upstream.received.length
    await exchangeRaw(
      gateway.url,
      'GET http://real.example/api/app/x HTTP/1.1\r\nHost: other.example\r\n\r\n',
      whole,
    )
    expect(upstream.received.slice(before)).toMatch(/^GET \/x HTTP\/1\.1\r\nhost: real\.example\r\n/)
  })

  it('never sends on what concerns the connection', async () => {
    const before = upstream.received.length
    await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nHost: a\r\nConnection: X-Internal, close\r\nX-Internal: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nProxy-Authorization: x\r\n\r\n',
      whole,
    )
    const sent = upstream.received.slice(before).toLowerCase()
    for (const name of ['x-internal', 'te:', 'upgrade', 'http2-settings', 'proxy-authorization', 'close'])
      expect(sent).not.toContain(name)
  })

  it('serves HTTP/1.0 without chunks', async () => {
    await using chunked = await startRawServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'),
    )
    await using other = await startGateway({ routes: [appRoute([chunked.url])] })
    const answer = await exchangeRaw(other.url, 'GET /api/app/ HTTP/1.0\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(answer.toLowerCase()).not.toContain('transfer-encoding')
    expect(answer.endsWith('\r\n\r\nhello')).toBe(true)
  })
})

describe('a request hidden in another', () => {
  const codings = [
    'Transfer-Encoding: chunked',
    'Transfer-Encoding:chunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding: \tchunked',
    'Transfer-Encoding: chunked ',
    'Transfer-Encoding: chunked\t',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding\t: chunked',
    ' Transfer-Encoding: chunked',
    'Transfer-Encoding: CHUNKED',
    'transfer-encoding: chunKed',
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: 'chunked'",
    'Transfer-Encoding: chunked;q=1',
    'Transfer-Encoding: chunked,',
    'Transfer-Encoding: ,chunked',
    'Transfer-Encoding: chunked, chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding: identity, chunked',
    'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow',
    'Transfer_Encoding: chunked',
    'Transfer.Encoding: chunked',
    'Transfer-Encoding: \u0000chunked',
    'Transfer-Encoding: \u000bchunked',
    'Transfer-Encoding: \u00a0chunked',
    'Transfer-Encoding:\r\n chunked',
    'X: y\r\n\tTransfer-Encoding: chunked',
    'X: y\rTransfer-Encoding: chunked',
    'X: y\nTransfer-Encoding: chunked',
    'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked',
  ]
  const lengths = [
    '',
    'Content-Length: 4\r\n',
    'Content-Length: 70\r\n',
    'Connection: Content-Length\r\nContent-Length: 4\r\n',
    'Content_Length: 4\r\n',
  ]

  it('never reaches an upstream as one of its own', async () => {
    const urls: string[] = []
    const upstream = createServer((request, response) => {
      urls.push(request.url ?? '')
      request.resume().on('end', () => response.end())
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    const { port } = upstream.address() as { port: number }
    await using gateway = await startGateway({
      routes: [appRoute([`http://127.0.0.1:${port}`])],
      timeouts: { idle: 100 },
    })
    const hidden = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    const bodies = [`0\r\n\r\n${hidden}`, `1\r\nZ\r\nQ\r\n\r\n${hidden}`, `26;x=\n\r\n${hidden}\r\n0\r\n\r\n`]
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      const requests = codings.flatMap((coding) =>
        lengths.flatMap((length) =>
          bodies.map(
            (body) => `${method} /api/app/x HTTP/1.1\r\nHost: a\r\n${length}${coding}\r\n\r\n${body}`,
          ),
        ),
      )
      // A part at once: more would wait for each other for longer than one may wait for an answer.
      for (let at = 0; at < requests.length; at += 50) {
        await Promise.all(
          requests
            .slice(at, at + 50)
            .map((request) =>
              exchangeRaw(gateway.url, request, (received) => received.includes('\r\n\r\n'), 20_000),
            ),
        )
      }
    }
    expect(urls.length).toBeGreaterThan(0)
    expect(new Set(urls)).toEqual(new Set(['/x']))
    upstream.close()
    upstream.closeAllConnections()
  })
})

describe('an answer that is not what it should be', () => {
  const request = 'GET /api/app/ HTTP/1.1\r\nHost: a\r\n\r\n'

  async function answerTo(bytes: string, method = request): Promise<string> {
    await using upstream = await startRawServer((socket) => socket.end(bytes))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], retries: false })
    return await exchangeRaw(
      gateway.url,
      method,
      (received) => received.endsWith('"}') || received.endsWith('end'),
    )
  }

  it('is cut off for the client too when its length is not reached', async () => {
    const answer = await answerTo('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello')
    expect(answer).toContain('content-length: 100')
    expect(answer.endsWith('hello')).toBe(true)
  })

  it('is cut off without a last chunk when its chunks end early', async () => {
    const answer = await answerTo('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n')
    expect(answer).toContain('hello')
    expect(answer).not.toContain('\r\n0\r\n')
  })

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
    ['nothing at all', ''],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx'],
    ['both framings', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    [
      'a switch of protocols that nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
    ],
  ])('is 502: %s', async (_name, bytes) => {
    const answer = await answerTo(bytes)
    expect(statusOf(answer)).toBe(502)
    expect(answer).toContain('ERR_GATEWAY_UPSTREAM_FAILED')
  })

  it('loses its hop-by-hop headers', async () => {
    const answer = await answerTo(
      'HTTP/1.1 200 OK\r\nconnection: close, x-internal\r\nx-internal: 1\r\nkeep-alive: timeout=1\r\nproxy-authenticate: x\r\nupgrade: h2\r\nx-kept: 1\r\ncontent-length: 3\r\n\r\nend',
    )
    for (const name of ['x-internal', 'timeout=1\r', 'proxy-authenticate', 'upgrade:'])
      expect(answer.toLowerCase()).not.toContain(name)
    expect(answer).toContain('x-kept: 1')
  })

  it.each([
    ['a reason phrase that is not ASCII', 'HTTP/1.1 200 Gr\u00fc\u00dfe\r\ncontent-length: 3\r\n\r\nend'],
    [
      'early hints with two links and quoted parameters',
      'HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload, </b>; title="x, y"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend',
    ],
  ])('goes through all the same: %s', async (_name, bytes) => {
    const answer = await answerTo(bytes)
    expect(answer).toMatch(/HTTP\/1\.1 200 OK\r\n/)
    expect(answer.endsWith('end')).toBe(true)
    if (bytes.includes('103')) expect(answer).toContain('link: </a>; rel=preload, </b>; title="x, y"\r\n')
  })

  it('brings early hints along', async () => {
    const answer = await answerTo(
      'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend',
    )
    expect(answer).toMatch(
      /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
    )
  })
})

describe('Expect: 100-continue', () => {
  it('is answered when the upstream takes the body, and the body arrives', async () => {
    const upstream = createServer((request, response) => {
      let length = 0
      request.on('data', (chunk: Buffer) => (length += chunk.length))
      request.on('end', () => response.end(`hello ${length}`))
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    const { port } = upstream.address() as { port: number }
    await using gateway = await startGateway({ routes: [appRoute([`http://127.0.0.1:${port}`])] })
    const { hostname, port: gatewayPort } = new URL(gateway.url)
    const socket = connect(Number(gatewayPort), hostname)
    let received = ''
    socket.on('data', (chunk) => (received += chunk.toString()))
    socket.write('POST /api/app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    await until(() => received === 'HTTP/1.1 100 Continue\r\n\r\n')
    socket.write('12345')
    await until(() => received.includes('hello 5'))
    socket.destroy()
    upstream.close()
    upstream.closeAllConnections()
  })

  it('is not answered over HTTP/1.0, which knows no interim answers', async () => {
    await using upstream = await startRawServer((socket, received) => {
      if (received.includes('hello')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend')
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const answer = await exchangeRaw(
      gateway.url,
      'POST /api/app/ HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  })

  it('is not answered for a body that is refused', async () => {
    await using gateway = await startGateway({
      routes: [appRoute(['http://127.0.0.1:1'], { maxRequestSize: 10 })],
    })
    const answer = await exchangeRaw(
      gateway.url,
      'POST /api/app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  })
})
