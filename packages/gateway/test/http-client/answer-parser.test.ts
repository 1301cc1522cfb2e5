import { describe, expect, it } from 'vitest'
import { AnswerParser, type AnswerExpectation } from '../../src/http-client/answer-parser.ts'

interface Read {
  readonly interim: number[]
  readonly status: number | undefined
  readonly headers: readonly string[]
  readonly body: string
  readonly at: string
  readonly rest: string
  readonly keepAlive: boolean | undefined
}

const get: AnswerExpectation = { method: 'GET', upgrade: false }

/** Reads an answer in pieces of this many bytes. */
function read(text: string, size = text.length, expected: AnswerExpectation = get, ends = false): Read {
  const seen = { interim: [] as number[], status: undefined as number | undefined, body: '' }
  let headers: readonly string[] = []
  let keepAlive: boolean | undefined
  const parser = new AnswerParser(
    expected,
    {
      onInterim: (status) => void seen.interim.push(status),
      onHead(head) {
        seen.status = head.status
        ;({ headers, keepAlive } = head)
      },
      onData: (chunk) => void (seen.body += chunk.toString('latin1')),
    },
    { maxHeadSize: 1_024, endsWithConnection: true },
  )
  let at = 'answer'
  let rest = ''
  const bytes = Buffer.from(text, 'latin1')
  for (let index = 0; index < bytes.length; index += size) {
    if (at !== 'answer') {
      rest += bytes.subarray(index).toString('latin1')
      break
    }
    const progress = parser.push(bytes.subarray(index, index + size))
    at = progress.at
    if (progress.at !== 'answer') rest = progress.rest.toString('latin1')
  }
  if (ends && at === 'answer') {
    parser.end()
    at = 'end'
  }
  return { ...seen, headers, keepAlive, at, rest }
}

describe('an answer', () => {
  const whole: readonly [string, Partial<Read>, string?][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', { status: 200, body: 'ok', keepAlive: true }],
    ['HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', { status: 200, body: '' }],
    ['HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n', { status: 200, body: '' }],
    ['HTTP/1.1 204 No Content\r\n\r\n', { status: 204, body: '' }],
    ['HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n', { status: 304, body: '' }],
    ['HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n', { status: 200, body: '' }, 'HEAD'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', { status: 200, body: '' }, 'HEAD'],
    [
      'HTTP/1.1 200 OK\r\na: \t b \t\r\ncontent-length: 0\r\n\r\n',
      { headers: ['a', 'b', 'content-length', '0'] },
    ],
    ['HTTP/1.1 200 OK\r\na:\r\ncontent-length: 0\r\n\r\n', { headers: ['a', '', 'content-length', '0'] }],
    ['HTTP/1.1 200 Gr\u00fc\u00dfe\r\na: \u00a0\u00ff\r\ncontent-length: 0\r\n\r\n', { status: 200 }],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0A;a="b"\r\n0123456789\r\n0\r\nt: x\r\n\r\n',
      { body: 'ok0123456789', keepAlive: true },
    ],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', { body: '' }],
    ['HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n', { keepAlive: false }],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n.', { keepAlive: false, body: '.' }],
    ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\ncontent-length: 1\r\n\r\n.', { keepAlive: true }],
    [
      'HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n',
      { keepAlive: false },
    ],
    ['HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n', { keepAlive: false, body: '' }],
    ['HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n', { keepAlive: false, body: '' }],
    ['HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n', { keepAlive: true, body: '' }],
    [
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ncontent-length: 9\r\ntransfer-encoding: x\r\n\r\n',
      { body: 'ok', headers: ['transfer-encoding', 'chunked'] },
    ],
    [
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
      { interim: [100, 103], status: 200, body: 'ok' },
    ],
  ]
  it.each(whole)('is read wherever it is cut: %j', (text, expected, method = 'GET') => {
    for (let size = 1; size <= text.length; size++)
      expect(read(text, size, { method, upgrade: false })).toMatchObject({ at: 'end', rest: '', ...expected })
  })

  it('in chunks is handed out in one piece per read', () => {
    const pieces: string[] = []
    const parser = new AnswerParser(
      get,
      {
        onInterim: () => undefined,
        onHead: () => undefined,
        onData: (data) => void pieces.push(String(data)),
      },
      { maxHeadSize: 1_024, endsWithConnection: true },
    )
    const chunks = '1\r\na\r\n2;x=y\r\nbc\r\n00a\r\n0123456789\r\n9\r\n'
    parser.push(Buffer.from(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}half`))
    parser.push(Buffer.from(' done\r\n1\r\n.\r\n0\r\n\r\n'))
    expect(pieces).toEqual(['abc0123456789half', ' done.'])
  })

  it('without a length ends with its connection', () => {
    const text = 'HTTP/1.1 200 OK\r\n\r\nall of it'
    for (let size = 1; size <= text.length; size++)
      expect(read(text, size, get, true)).toMatchObject({ at: 'end', body: 'all of it', keepAlive: false })
  })

  it.each([
    ['', ''],
    ['HTTP/1.1 200 OK\r\nconte', ''],
    ['HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok', 'ok'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n', 'ok'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n', 'ok'],
    ['HTTP/1.1 100 Continue\r\n\r\n', ''],
  ])('is not whole when its connection ends behind %j', (text) => {
    expect(() => read(text, text.length || 1, get, true)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('tells what follows it on the connection', () => {
    const text = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n'
    expect(read(text)).toMatchObject({ body: 'ok', rest: 'HTTP/1.1 200 OK\r\n\r\n' })
    expect(read('HTTP/1.1 204 No Content\r\n\r\nmore')).toMatchObject({ at: 'end', rest: 'more' })
    const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore'
    expect(read(chunked)).toMatchObject({ body: 'ok', rest: 'more' })
  })

  it('of 101 changes the protocol where that was asked for', () => {
    const text = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nfirst'
    for (let size = 1; size <= text.length; size++)
      expect(read(text, size, { method: 'GET', upgrade: true })).toMatchObject({
        at: 'upgrade',
        rest: 'first',
      })
    expect(() => read(text)).toThrow(/changes the protocol/)
  })
})

describe('what is no answer of HTTP/1.1 is refused', () => {
  const line = 'HTTP/1.1 200 OK\r\n'
  const length = 'content-length: 2\r\n'
  const chunked = `${line}transfer-encoding: chunked\r\n\r\n`
  it.each([
    'not http\r\n\r\n',
    'HTTP/2.0 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1 099 OK\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n',
    'http/1.1 200 OK\r\n\r\n',
    '\r\nHTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\nx: y\r\n\r\n',
    `HTTP/1.1 200 O\u0000K\r\n${length}\r\nok`,
    `${line}no colon\r\n\r\n`,
    `${line}: no name\r\n\r\n`,
    `${line}a : b\r\n\r\n`,
    `${line}a: b\r\n folded\r\n\r\n`,
    `${line}a: b\u0000\r\n\r\n`,
    `${line}a: b\u000b\r\n${length}\r\nok`,
    `${line}a: b\rc\r\n\r\n`,
    `${line}a: b\nc: d\r\n\r\n`,
    `${line}a\u00fc: b\r\n\r\n`,
    `${line}${length}${length}\r\nok`,
    `${line}content-length: 2, 2\r\n\r\nok`,
    `${line}content-length: +2\r\n\r\nok`,
    `${line}content-length: -2\r\n\r\nok`,
    `${line}content-length: 0x2\r\n\r\nok`,
    `${line}content-length: 2 2\r\n\r\nok`,
    `${line}content-length:\r\n\r\nok`,
    `${line}content-length: 1234567890123456\r\n\r\nok`,
    `${line}${length}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${line}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    `${line}transfer-encoding: identity\r\n\r\n0\r\n\r\n`,
    `${line}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${chunked}zz\r\n`,
    `${chunked}\r\n`,
    `${chunked}0x2\r\nok\r\n0\r\n\r\n`,
    `${chunked}-2\r\nok\r\n0\r\n\r\n`,
    `${chunked}2 \r\nok\r\n0\r\n\r\n`,
    `${chunked}2\nok\r\n0\r\n\r\n`,
    `${chunked}2\r\nokay\r\n0\r\n\r\n`,
    `${chunked}2\r\nok\n0\r\n\r\n`,
    `${chunked}2;\u0000\r\nok\r\n0\r\n\r\n`,
    `${chunked}1234567890123\r\nok`,
    `${chunked}0\r\n\n`,
    `${chunked}20000000000000\r\nok`,
    `${chunked}0\r\nHTTP/1.1 200 OK\r\n`,
    `${chunked}0\r\na: b\u0000\r\n`,
    `${chunked}0\r\na: b\rc\r\n`,
    `${line}a\u0000: b\r\n\r\n`,
    `${line}content-length: 2\r\ncontent-length: 3\r\n\r\nok`,
    `${line}transfer-encoding: chunked, gzip\r\n\r\n`,
    'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\ncontent-length: 2\n\nok',
    'SSH-2.0-OpenSSH_9.9\r\n',
    `${line}a: ${'x'.repeat(1_100)}`,
  ])('%j', (text) => {
    for (let size = 1; size <= text.length; size += size < 4 ? 1 : 61)
      expect(() => read(text, size)).toThrow(
        expect.objectContaining({ code: text.startsWith('HTTP/1.') ? 'BAD_ANSWER' : 'NOT_HTTP' }),
      )
  })

  it('what has neither a length nor chunks, where the end of the connection proves nothing', () => {
    const limits = { maxHeadSize: 1_024, endsWithConnection: false }
    const ignore = (): void => undefined
    const parser = new AnswerParser(get, { onInterim: ignore, onHead: ignore, onData: ignore }, limits)
    expect(() => parser.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))).toThrow(/over TLS/)
  })

  it('lines of chunks and trailers without end', () => {
    for (const endless of [`1;${'x'.repeat(17_000)}`, `0\r\n${'a: b\r\n'.repeat(3_000)}`])
      expect(() => read(chunked + endless, 1_000)).toThrow(/a chunk has no end/)
  })

  it('a flood of interim answers', () => {
    const flood = 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(5_000)
    for (const size of [1_000, flood.length])
      expect(() => read(flood, size)).toThrow(expect.objectContaining({ code: 'BAD_ANSWER' }))
  })
})
