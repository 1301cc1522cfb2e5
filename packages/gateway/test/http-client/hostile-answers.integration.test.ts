import type { Socket } from 'node:net'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'
import { startRawServer, type RawServer } from '../support/raw.ts'

const line = 'HTTP/1.1 200 OK\r\n'
const chunked = `${line}transfer-encoding: chunked\r\n\r\n`
const good = `${line}content-length: 2\r\n\r\nok`
const evil = `${line}content-length: 4\r\n\r\nevil`

/** Does this on the first connection, and answers every request on the others. */
function startHostile(first: (socket: Socket) => void): Promise<RawServer> {
  const server = startRawServer((socket, received) => {
    if (!received.endsWith('\r\n\r\n')) return
    void server.then(({ connections }) => {
      if (connections[0] === socket) first(socket)
      else socket.write(good)
    })
  })
  return server
}

/**
 * The status of the first answer, 0 where it is broken off; the next client gets its own on a connection of its own.
 * `afterHead` is done once the client has the head.
 */
async function statusOf(
  first: (socket: Socket) => void,
  init: RequestInit = {},
  afterHead: (socket: Socket) => void = () => undefined,
): Promise<number> {
  await using upstream = await startHostile(first)
  await using gateway = await startGateway({ routes: [appRoute([upstream.url])], retries: false })
  const response = await fetch(`${gateway.url}/api/app/`, init)
  for (const socket of upstream.connections) afterHead(socket)
  const whole = await response.text().then(
    () => true,
    () => false,
  )
  await until(() => upstream.connections[0]?.destroyed === true)
  expect(await (await fetch(`${gateway.url}/api/app/`)).text()).toBe('ok')
  expect(upstream.connections).toHaveLength(2)
  return whole ? response.status : 0
}

describe('a connection with an answer that is not HTTP/1.1', () => {
  it.each([
    ['both framings', `${line}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${line}content-length: 2\r\ncontent-length: 3\r\n\r\nok`],
    ['chunked not last', `${line}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
    ['a coding in HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a folded line', `${line}a: b\r\n c\r\ncontent-length: 2\r\n\r\nok`],
    ['bare LF', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok'],
    ['bare CR', `${line}a: b\rc\r\ncontent-length: 2\r\n\r\nok`],
    ['NUL in a name', `${line}a\u0000: b\r\ncontent-length: 2\r\n\r\nok`],
    ['NUL in a value', `${line}a: \u0000\r\ncontent-length: 2\r\n\r\nok`],
    ['a huge head', `${line}a: ${'x'.repeat(100_000)}\r\n\r\n`],
    ['another version', 'HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok'],
    ['a long status', 'HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['a flood of 1xx', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(10_000)],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n'],
  ])('is destroyed, and its client gets 502: %s', async (_what, bytes) => {
    expect(await statusOf((socket) => socket.write(bytes, 'latin1'))).toBe(502)
  })

  it.each([
    ['a size of 2^53', '20000000000000\r\nok'],
    ['a size that is none', '2\r\nok\r\nzz\r\n'],
    ['a next answer for a trailer', `2\r\nok\r\n0\r\n${evil}`],
  ])('is destroyed, and its answer broken off: %s', async (_what, body) => {
    const status = await statusOf(
      (socket) => socket.write(chunked),
      {},
      (socket) => socket.write(body),
    )
    expect(status).toBe(0)
  })
})

describe('a connection that ends early', () => {
  it.each([
    ['before the head', '', 502],
    ['in the status line', 'HTTP/1.1 20', 502],
    ['in a header', `${line}conte`, 502],
    ['behind an interim answer', 'HTTP/1.1 100 Continue\r\n\r\n', 502],
    ['in a body with a length', `${line}content-length: 9\r\n\r\nok`, 0],
    ['in a chunk', `${chunked}9\r\nok`, 0],
    ['before the last chunk', `${chunked}2\r\nok\r\n`, 0],
    ['in the trailers', `${chunked}2\r\nok\r\n0\r\na: b\r\n`, 0],
  ])('%s ends no answer as if it were whole', async (_where, bytes, status) => {
    expect(await statusOf((socket) => socket.end(bytes))).toBe(status)
  })
})

describe('a connection is not used again', () => {
  it.each([
    ['bytes come behind the answer', `${good}${evil}`, {}],
    ['bytes come behind a chunked answer', `${chunked}2\r\nok\r\n0\r\n\r\n${evil}`, {}],
    ['204 names a body', 'HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n', {}],
    ['304 has a body', `HTTP/1.1 304 Not Modified\r\ncontent-length: ${evil.length}\r\n\r\n${evil}`, {}],
    ['HEAD is given a body', `${line}content-length: ${evil.length}\r\n\r\n${evil}`, { method: 'HEAD' }],
  ])('where %s', async (_why, bytes, init) => {
    expect(await statusOf((socket) => socket.write(bytes), init)).toBeLessThan(400)
  })

  it.each([
    ['304', 'HTTP/1.1 304 Not Modified', {}],
    ['HEAD', 'HTTP/1.1 200 OK', { method: 'HEAD' }],
  ])('where the body that an answer to %s only names comes after it', async (_what, status, init) => {
    const head = `${status}\r\ncontent-length: ${evil.length}\r\n\r\n`
    const sent = await statusOf(
      (socket) => socket.write(head),
      init,
      (socket) => socket.write(evil),
    )
    expect(sent).toBeLessThan(400)
  })

  it('where the upstream ends its half behind the answer', async () => {
    expect(await statusOf((socket) => socket.end(good))).toBe(200)
  })

  it('where nothing but its end ends the answer', async () => {
    expect(await statusOf((socket) => socket.end(`${line}connection: close\r\n\r\nok`))).toBe(200)
  })
})
