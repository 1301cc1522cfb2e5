import { request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer } from '../support/raw.ts'
import { startUpstream, type TestUpstream } from '../support/upstream.ts'

/** The status of a POST with a body of this many bytes, or the code of the error that it met. */
function upload(url: string, bytes: number): Promise<number | string> {
  return new Promise((resolve) => {
    const headers = { 'content-length': bytes }
    const request = httpRequest(url, { method: 'POST', agent: false, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
      response.on('error', (error) => resolve(String(error)))
    })
    request.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
    request.end(Buffer.alloc(bytes))
  })
}

/** Answers before it has read the body, and closes the connection. */
function startRefusing(): Promise<TestUpstream> {
  return startUpstream((_request, response) => {
    response.writeHead(401, { connection: 'close', 'content-length': 2 }).end('no')
  })
}

describe('an upload that is refused early', () => {
  it('gets the answer of the upstream, although the rest of the body could not be sent', async () => {
    await using first = await startRefusing()
    await using second = await startRefusing()
    await using gateway = await startGateway({ routes: [appRoute([first.url, second.url])] })
    const statuses: unknown[] = []
    for (let index = 0; index < 14; index++) statuses.push(await upload(`${gateway.url}/api/app/`, 5_000_000))
    expect(statuses).toEqual(Array.from({ length: 14 }, () => 401))
    expect(gateway.status().routes[0]?.upstreams.map(({ ejected }) => ejected)).toEqual([false, false])
  })

  it('does not count against an upstream that breaks the connection meanwhile', async () => {
    const reset = (socket: Socket): void => void socket.resetAndDestroy()
    await using first = await startRawServer(reset)
    await using second = await startRawServer(reset)
    await using gateway = await startGateway({
      routes: [appRoute([first.url, second.url])],
      ejection: { failures: 1 },
    })
    for (let index = 0; index < 4; index++)
      expect(await upload(`${gateway.url}/api/app/`, 5_000_000)).toBe(502)
    expect(gateway.status().routes[0]?.upstreams.map(({ ejected }) => ejected)).toEqual([false, false])
  })
})

/** The bytes that a client gets which reads nothing before it has sent its whole request. */
async function sendThenRead(url: string, head: string, body: Buffer): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').pause()
  let received = ''
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', (error) => (received += `[${(error as NodeJS.ErrnoException).code}]`))
  socket.on('data', (data: Buffer) => (received += data.toString('latin1'))).pause()
  socket.write(head)
  socket.write(body, () => socket.resume())
  await closed
  return received
}

describe('a client that reads nothing before it has sent all', () => {
  const body = Buffer.alloc(20_000_000)

  it.each([
    ['of the upstream', 'app', 401],
    ['of the gateway', 'small', 413],
  ])('gets an early answer %s', { timeout: 20_000 }, async (_whose, route, status) => {
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(401, { 'content-length': 4 }).end('nope')
    })
    await using gateway = await startGateway({
      routes: [
        appRoute([upstream.url]),
        { name: 'small', path: '/api/small/', upstreams: [upstream.url], maxRequestSize: '1kb' },
      ],
    })
    const head = `POST /api/${route}/ HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`
    const answer = await sendThenRead(gateway.url, head, body)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*\r\n\r\n[^]*[e}]$`))
  })

  it('and stops amid it, has not had its answer for sure', { timeout: 20_000 }, async () => {
    await using upstream = await startUpstream((_request, response) => response.writeHead(401).end())
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const client = connect(Number(new URL(gateway.url).port), '127.0.0.1').resume()
    client.write('POST /api/app/ HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx')
    await until(() => gateway.settled.length === 1, 15_000)
    expect(gateway.settled).toMatchObject([{ status: 401, outcome: 'aborted' }])
    client.destroy()
  })
})

describe('an exchange moves as long as one of its directions does', () => {
  it('which may be the upload behind an answer that has begun', async () => {
    await using upstream = await startUpstream((request, response) => {
      response.flushHeaders()
      request.resume().on('end', () => response.end('whole'))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 400 } })
    expect(await talkFor(gateway.url, 1_200)).toBe('whole')
  })

  it('which may be the answer to a request that is still open', async () => {
    await using upstream = await startUpstream((request, response) => {
      const timer = setInterval(() => response.write('.'), 50)
      request.resume().on('end', () => {
        clearInterval(timer)
        response.end('whole')
      })
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 400 } })
    expect(await talkFor(gateway.url, 1_200, false)).toMatch(/^\.+whole$/)
  })
})

/** The answer to a POST whose body ends after so many milliseconds, and comes in pieces until then or is silent. */
function talkFor(url: string, ms: number, speaks = true): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/api/app/`, { method: 'POST' }, (response) => {
      let body = ''
      response.on('data', (data: Buffer) => (body += String(data)))
      response.on('end', () => resolve(body)).on('error', reject)
    })
    request.on('error', reject)
    request.write('x')
    const timer = speaks ? setInterval(() => request.write('x'), 50) : undefined
    setTimeout(() => {
      clearInterval(timer)
      request.end()
    }, ms)
  })
}

describe('an upload in chunks of one byte', () => {
  it('reaches the upstream whole, in fewer and larger chunks', async () => {
    const bytes = 20_000
    await using upstream = await startRawServer((socket, received) => {
      if (received.endsWith('\r\n0\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const head =
      'POST /api/app/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n'
    const answer = await exchangeRaw(gateway.url, `${head}${'1\r\nx\r\n'.repeat(bytes)}0\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 200 /)
    const chunks = upstream.received.slice(upstream.received.indexOf('\r\n\r\n') + 4).split('\r\n')
    expect(chunks.filter((line) => line.startsWith('x')).join('')).toBe('x'.repeat(bytes))
    expect(chunks.length).toBeLessThan(bytes / 10)
  })
})

describe('the time limit for an answer', () => {
  it('begins when the whole request was sent', async () => {
    let release = (): void => undefined
    await using upstream = await startUpstream((request, response) => {
      release = () => void request.resume().on('end', () => response.end('late'))
    })
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { headers: 100, idle: '1m' },
    })
    const answer = upload(`${gateway.url}/api/app/`, 40_000_000)
    await until(() => upstream.seen.length === 1)
    // Longer than the time limit, counted by a request that runs into it.
    await using silent = await startUpstream(() => undefined)
    await using other = await startGateway({
      routes: [appRoute([silent.url], { timeouts: { headers: 1_500 } })],
    })
    expect((await fetch(`${other.url}/api/app/`)).status).toBe(504)
    release()
    expect(await answer).toBe(200)
  })

  it('applies to an upstream that has the whole request, also with a body', async () => {
    await using upstream = await startUpstream((request) => void request.resume())
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { headers: 100, idle: '1m' },
    })
    expect(await upload(`${gateway.url}/api/app/`, 1_000)).toBe(504)
    expect(gateway.settled[0]?.outcome).toBe('ERR_GATEWAY_UPSTREAM_TIMEOUT')
  })

  it('does not take a client for idle whose bytes came while the gateway itself stood still', async () => {
    await using upstream = await startUpstream((request, response) => {
      socket.write('cd')
      // What came behind this event is read in the next turn of the event loop, after the timers.
      const end = performance.now() + 500
      while (performance.now() < end);
      request.resume().on('end', () => response.end())
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 200 } })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    let received = ''
    socket.on('data', (chunk) => (received += chunk.toString()))
    socket.write('POST /api/app/ HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab')
    await until(() => received.includes('\r\n\r\n'))
    expect(received).toContain('HTTP/1.1 200')
    socket.destroy()
  })

  it('is the idle limit while an upstream does not read the body', async () => {
    await using upstream = await startUpstream(() => undefined)
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { headers: '1m', idle: 200 },
    })
    expect(await upload(`${gateway.url}/api/app/`, 40_000_000)).toBe(504)
    expect(gateway.settled[0]?.outcome).toBe('ERR_GATEWAY_UPSTREAM_TIMEOUT')
  })
})
