import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { RouteContext } from '@quintet/core'
import { sendRaw } from '../support/raw.ts'
import { route, serve } from '../support/serve.ts'

type Handler = (
  request: Request,
  context: Pick<RouteContext<unknown>, 'signal'>,
) => Response | Promise<Response>

const get = (pattern: string, handler: Handler) =>
  route({ method: 'GET', pattern, access: 'public', handler })

const smuggled = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL'

/** A body that comes in pieces, one a turn. */
function inPieces(...pieces: readonly string[]): ReadableStream<Uint8Array> {
  const rest = [...pieces]
  return new ReadableStream(
    {
      async pull(controller) {
        await new Promise((resolve) => setImmediate(resolve))
        await new Promise((resolve) => setImmediate(resolve))
        const piece = rest.shift()
        if (piece === undefined) controller.close()
        else controller.enqueue(new TextEncoder().encode(piece))
      },
    },
    { highWaterMark: 0 },
  )
}

describe('the content-length that a route gives', () => {
  const withLength = (body: string | ReadableStream<Uint8Array>, length: number | string): Response =>
    new Response(body, { headers: { 'content-length': String(length) } })
  const routes = [
    get('/whole-long', () => withLength(`abc${smuggled}`, 3)),
    get('/whole-short', () => withLength('abc', 10)),
    get('/long', () => withLength(inPieces('abc', smuggled), 3)),
    get('/short', () => withLength(inPieces('a', 'bc'), 10)),
    get('/right', () => withLength(inPieces('a', 'bc'), 3)),
    get('/next', () => new Response('next')),
  ]
  const ask = async (path: string): Promise<string> => {
    await using app = await serve({}, { routes })
    const one = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`
    return await sendRaw(app.url, one(path) + one('/next'), /\r\n\r\nnext$/)
  }

  it('gives way to the real one of a body that is there as a whole', async () => {
    expect(await ask('/whole-long')).toMatch(new RegExp(`content-length: ${String(3 + smuggled.length)}`))
    const short = await ask('/whole-short')
    expect(short).toContain('content-length: 3')
    expect(short).toMatch(/\r\n\r\nnext$/)
  })

  it('ends the connection where a stream does not keep it, before what is too much is sent', async () => {
    const long = await ask('/long')
    expect(long).toMatch(/\r\n\r\nabc$/)
    const short = await ask('/short')
    expect(short).toMatch(/\r\n\r\nabc$/)
    expect(await ask('/right')).toMatch(/abcHTTP\/1\.1 200 OK[^]*next$/)
  })
})

describe('an answer of another server that a route passes on', () => {
  it.each([10, 100_000])('says no more of a coding that fetch has undone: %i letters', async (size) => {
    const text = 'upstream '.repeat(size)
    const upstream = createServer((_request, response) => {
      const body = gzipSync(text)
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length, etag: '"a"' })
      response.end(body)
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    const { port } = upstream.address() as AddressInfo
    await using app = await serve(
      { compression: false },
      { routes: [get('/proxy', () => fetch(`http://127.0.0.1:${String(port)}`))] },
    )
    const answer = await fetch(`${app.url}/proxy`)
    expect([answer.headers.get('content-encoding'), answer.headers.get('etag')]).toEqual([null, '"a"'])
    expect(await answer.text()).toBe(text)
    upstream.closeAllConnections()
    upstream.close()
  })
})

describe('the event stream of a route', () => {
  it('is ended by a drain, and its handler told', async () => {
    let reason: unknown
    const handler: Handler = (_request, { signal }) => {
      signal.addEventListener('abort', () => (reason = signal.reason), { once: true })
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\n')),
      })
      return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
    }
    await using app = await serve({}, { routes: [get('/events', handler)] })
    const answer = await fetch(`${app.url}/events`)
    const text = answer.text()
    const began = performance.now()
    await app.running.drain('deployment', AbortSignal.timeout(10_000))
    expect(await text).toBe('data: 1\n\n')
    expect(performance.now() - began).toBeLessThan(8_000)
    expect(reason).toMatchObject({ kind: 'closed' })
  })
})
