import { createHash, randomBytes } from 'node:crypto'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer } from '../support/raw.ts'
import { startUpstream } from '../support/upstream.ts'

const block = randomBytes(1024 * 1024)
const blocks = 256

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** How many MiB more were held at once while something streamed; what is garbage does not count. */
async function peakOf(work: Promise<unknown>): Promise<number> {
  const before = memory()
  let peak = before
  const timer = setInterval(() => (peak = Math.max(peak, memory())), 25)
  await work
  clearInterval(timer)
  return (peak - before) / 1024 / 1024
}

function memory(): number {
  collectGarbage()
  // The buffers are a part of what is external.
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

describe('a big body', () => {
  it('streams up without being held, and arrives whole', { timeout: 120_000 }, async () => {
    const hash = createHash('sha1')
    await using upstream = await startUpstream((request, response) => {
      let length = 0
      request.on('data', (chunk: Buffer) => {
        length += chunk.length
        hash.update(chunk)
      })
      request.on('end', () => response.end(String(length)))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const expected = createHash('sha1')
    const upload = new Promise<string>((resolve, reject) => {
      const request = httpRequest(
        `${gateway.url}/api/app/upload`,
        { method: 'PUT', headers: { 'content-length': block.length * blocks } },
        (response) => {
          response.on('data', (chunk: Buffer) => resolve(chunk.toString()))
        },
      )
      request.on('error', reject)
      void (async () => {
        for (let index = 0; index < blocks; index++) {
          expected.update(block)
          if (!request.write(block)) await new Promise((drained) => request.once('drain', drained))
        }
        request.end()
      })()
    })
    const peak = await peakOf(upload)
    expect(await upload).toBe(String(block.length * blocks))
    expect(hash.digest('hex')).toBe(expected.digest('hex'))
    expect(peak).toBeLessThan(48)
  })

  it(
    'streams down without being held, while the client reads slowly at first',
    { timeout: 120_000 },
    async () => {
      let written = 0
      await using upstream = await startUpstream((_request, response) => {
        void (async () => {
          for (let index = 0; index < blocks; index++) {
            written += block.length
            if (!response.write(block)) await new Promise((drained) => response.once('drain', drained))
          }
          response.end()
        })()
      })
      await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
      const response = await get(`${gateway.url}/api/app/`)
      // Nobody reads: the upstream comes to a standstill after what fits into the buffers on the way.
      let last = -1
      await until(async () => {
        const moved = written !== last
        last = written
        await delay(100)
        return !moved
      })
      expect(written).toBeLessThan(40 * block.length)
      let received = 0
      const download = new Promise<void>((resolve) => {
        response.on('data', (chunk: Buffer) => (received += chunk.length))
        response.on('end', resolve)
      })
      expect(await peakOf(download)).toBeLessThan(48)
      expect(received).toBe(block.length * blocks)
    },
  )

  it('reaches the upstream while it is still being sent', async () => {
    const { promise: first, resolve } = Promise.withResolvers<string>()
    await using upstream = await startUpstream((request, response) => {
      request.once('data', (chunk: Buffer) => resolve(chunk.toString()))
      request.resume().on('end', () => response.end())
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const request = httpRequest(`${gateway.url}/api/app/`, { method: 'POST' })
    request.on('error', () => undefined)
    request.write('first')
    expect(await first).toBe('first')
    request.destroy()
  })

  it('is answered by events as they come', async () => {
    const { promise: goOn, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('content-type', 'text/event-stream')
      response.write('data: 1\n\n')
      void goOn.then(() => response.end('data: 2\n\n'))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const response = await get(`${gateway.url}/api/app/`)
    const chunks: string[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk.toString()))
    await until(() => chunks.length === 1)
    resolve()
    await until(() => chunks.join('') === 'data: 1\n\ndata: 2\n\n')
  })
})

describe('the head of an answer', () => {
  it('goes on before its body has begun', async () => {
    const { promise: goOn, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('content-type', 'text/event-stream').flushHeaders()
      void goOn.then(() => response.end('data: 1\n\n'))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const response = await fetch(`${gateway.url}/api/app/`, { signal: AbortSignal.timeout(5_000) })
    expect(response.status).toBe(200)
    resolve()
    expect(await response.text()).toBe('data: 1\n\n')
  })
})

describe('early hints', () => {
  it('are bounded, however many an upstream sends', async () => {
    const hint = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n'
    await using upstream = await startRawServer((socket) =>
      socket.end(`${hint.repeat(1_000)}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
    )
    expect(answer.match(/ 103 /g)).toHaveLength(16)
    expect(answer).toMatch(/HTTP\/1\.1 200 OK[^]*\r\n\r\nok$/)
  })
})

describe('an abort', () => {
  it('of the client while it uploads reaches the upstream', async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<boolean>()
    await using upstream = await startUpstream((request) => {
      request.resume()
      request.on('close', () => resolve(!request.complete))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const request = httpRequest(`${gateway.url}/api/app/`, {
      method: 'POST',
      headers: { 'content-length': 1_000 },
    })
    request.on('error', () => undefined)
    request.write('x')
    await until(() => upstream.seen.length === 1)
    request.destroy()
    expect(await aborted).toBe(true)
    await until(() => gateway.settled[0]?.outcome === 'aborted')
    expect(gateway.status().routes[0]?.upstreams[0]).toMatchObject({ requests: 0, websockets: 0 })
  })

  it('of the client while it waits reaches the upstream', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream((_request, response) => response.on('close', () => resolve()))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const abort = new AbortController()
    const call = fetch(`${gateway.url}/api/app/`, { signal: abort.signal }).catch(() => 'gone')
    await until(() => upstream.seen.length === 1)
    abort.abort()
    await closed
    expect(await call).toBe('gone')
    await until(() => gateway.status().requests === 0)
  })

  it('of the upstream in the middle of its answer reaches the client', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.write('half', () => response.destroy())
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const response = await fetch(`${gateway.url}/api/app/`)
    await expect(response.text()).rejects.toThrow()
    await until(() => gateway.settled[0]?.outcome === 'ERR_GATEWAY_UPSTREAM_FAILED')
  })

  it('of the upstream reaches a client of HTTP/1.0 as an error: the end of the connection would look whole', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.write('half', () => response.destroy())
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    socket.write('GET /api/app/ HTTP/1.0\r\nhost: a\r\n\r\n')
    const ended = await new Promise<string>((resolve) => {
      socket.on('end', () => resolve('whole'))
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
      socket.resume()
    })
    expect(ended).toBe('ECONNRESET')
  })

  it('of an upload by an early answer leaves the client its answer', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(401, { connection: 'close', 'content-length': 2 }).end('no')
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    let received = ''
    socket.on('data', (chunk) => (received += chunk.toString()))
    socket.write(`POST /api/app/ HTTP/1.1\r\nhost: a\r\ncontent-length: ${50 * block.length}\r\n\r\n`)
    const timer = setInterval(() => socket.writable && socket.write(block.subarray(0, 10_000)), 1)
    await until(() => received.includes('\r\n\r\nno'))
    clearInterval(timer)
    expect(received).toMatch(/^HTTP\/1\.1 401 /)
    expect(received.toLowerCase()).toContain('connection: close')
    socket.destroy()
  })
})

function get(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => httpRequest(url, resolve).on('error', reject).end())
}

describe('a client that stops reading', () => {
  it('is cut off after the idle limit, and the upstream with it', async () => {
    let gone = false
    await using upstream = await startUpstream((_request, response) => {
      response.on('close', () => (gone = true))
      const send = (): void => {
        while (!response.destroyed && response.write(block));
      }
      response.on('drain', send)
      send()
    })
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { idle: 300 },
    })
    const response = await get(`${gateway.url}/api/app/`)
    response.on('error', () => undefined)
    await until(() => gone, 25_000)
    await until(() => gateway.status().requests === 0)
    expect(gateway.settled).toMatchObject([{ status: 200, outcome: 'ERR_GATEWAY_REQUEST_TIMEOUT' }])
    response.destroy()
  })
})
