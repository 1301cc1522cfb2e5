import { getEventListeners, once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { until } from '@quintet/test-kit'
import { afterEach, describe, expect, it } from 'vitest'
import {
  closeCode,
  closeFrame,
  textFrame,
  trackConnections,
  writeRawProblem,
  toProblem,
} from '../../src/http.ts'
import type { Connections, TrackConnectionsOptions } from '../../src/http.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).toReversed()) cleanup()
})

async function serve(
  listener: http.RequestListener,
  options?: TrackConnectionsOptions,
): Promise<{ readonly port: number; readonly server: http.Server; readonly connections: Connections }> {
  const server = http.createServer({ keepAliveTimeout: 60_000 }, listener)
  const connections = trackConnections(server, options)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => connections.destroy())
  return { server, connections, port: (server.address() as AddressInfo).port }
}

/** A client that speaks for itself, and what it has received. */
async function open(port: number): Promise<{ readonly socket: Socket; readonly received: () => Buffer }> {
  const socket = connect(port, '127.0.0.1')
  cleanups.push(() => socket.destroy())
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  await once(socket, 'connect')
  return { socket, received: () => Buffer.concat(chunks) }
}

const request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const upgrade = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'

describe('trackConnections', () => {
  it('answers what is in progress, tells the client, and closes idle connections last', async () => {
    const waiting: http.ServerResponse[] = []
    const { port, connections } = await serve((_request, response) => waiting.push(response))
    const busy = await open(port)
    const idle = await open(port)
    busy.socket.write(request)
    await until(() => connections.requests === 1 && connections.size === 2)
    connections.announceClose()
    let isDrained = false
    const drained = connections.drain(50).then(() => (isDrained = true))
    await once(idle.socket, 'close')
    expect(isDrained).toBe(false)
    waiting[0]?.end('done')
    await drained
    await until(() => busy.received().includes('done'))
    expect(String(busy.received())).toMatch(/connection: close/i)
    expect(connections.size).toBe(0)
  })

  it('leaves nothing behind when a drain has ended: no listener on its signal, and no timer', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const { port, connections } = await serve(() => {})
    const idle = await open(port)
    const caller = new AbortController()
    await until(() => connections.size === 1)
    const before = timers()
    const drained = connections.drain(1_000, caller.signal)
    await until(() => getEventListeners(caller.signal, 'abort').length === 1)
    void connections.drain(20)
    await once(idle.socket, 'close')
    await drained
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0)
    await until(() => timers() <= before)
  })

  it('answers what has come while the process stood still, before it closes a connection as idle', async () => {
    const { port, connections } = await serve((_request, response) => response.end('answered'))
    const client = await open(port)
    await until(() => connections.size === 1)
    const drained = connections.drain(50)
    client.socket.write(request)
    const end = performance.now() + 150
    while (performance.now() < end);
    await drained
    await until(() => client.socket.closed)
    expect(String(client.received())).toContain('answered')
  })

  it('knows on which socket a request is in progress', async () => {
    const answers: { readonly response: http.ServerResponse; readonly socket: Socket }[] = []
    const { port, connections } = await serve(({ socket }, response) => answers.push({ response, socket }))
    const { socket } = await open(port)
    socket.write(request)
    await until(() => answers.length === 1)
    const [first] = answers
    if (first === undefined) throw new Error('no request')
    expect(connections.isAnswering(first.socket)).toBe(true)
    first.response.end()
    await until(() => !connections.isAnswering(first.socket))
  })

  it.each([
    [undefined, true],
    [{ eventStreams: false }, false],
  ])('ends event streams when it drains: %j, %s', async (options, ends) => {
    let stream: http.ServerResponse | undefined
    const { port, connections } = await serve((_request, response) => {
      stream = response
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
    }, options)
    const client = await open(port)
    client.socket.write(request)
    await until(() => client.received().includes('data: 1'))
    const drained = connections.drain(10, ends ? undefined : AbortSignal.timeout(300))
    await drained
    expect(stream?.writableEnded).toBe(ends)
    expect(connections.size).toBe(ends ? 0 : 1)
  })

  it('sends a WebSocket that it still has a close frame with 1001', async () => {
    const { server, port, connections } = await serve(() => {})
    server.on('upgrade', (_request, socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
    const client = await open(port)
    client.socket.write(upgrade)
    await until(() => client.received().includes('101') && connections.webSockets === 1)
    const drained = connections.drain(200)
    await until(() => client.received().includes(closeFrame(closeCode.goingAway, 'server_shutdown')))
    client.socket.end()
    await drained
  })

  it('leaves a connection that it handed over to its new owner', async () => {
    const { server, port, connections } = await serve(() => {})
    server.on('upgrade', (request_, socket) => {
      connections.handOver(request_.socket)
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    })
    const client = await open(port)
    client.socket.write(upgrade)
    await until(() => client.received().includes('101'))
    expect([connections.size, connections.webSockets]).toEqual([0, 0])
    const before = client.received().length
    await connections.drain(1)
    connections.destroy()
    expect(client.received().length).toBe(before)
    expect(client.socket.closed).toBe(false)
    client.socket.destroy()
  })

  it('gives up waiting when the signal aborts, and destroys what is left', async () => {
    const { port, connections } = await serve(() => {})
    const client = await open(port)
    client.socket.write(request)
    await until(() => connections.requests === 1)
    await connections.drain(10, AbortSignal.timeout(50))
    expect(connections.size).toBe(1)
    connections.destroy()
    await once(client.socket, 'close')
  })

  it('drains HTTP/2', async () => {
    const answers: http2.Http2ServerResponse[] = []
    const server = http2.createServer((_request, response) => answers.push(response))
    const connections = trackConnections(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    session.on('error', () => {})
    cleanups.push(
      () => session.destroy(),
      () => connections.destroy(),
    )
    const stream = session.request({ ':path': '/' })
    let body = ''
    stream.setEncoding('utf8').on('data', (text: string) => (body += text))
    await until(() => answers.length === 1)
    const gone = once(session, 'goaway')
    connections.announceClose()
    await gone
    const drained = connections.drain(10)
    answers[0]?.end('done')
    await drained
    expect(body).toBe('done')
  })
})

describe('frames', () => {
  it('are those of RFC 6455', () => {
    expect(closeFrame(1001, 'bye')).toEqual(Buffer.from([0x88, 5, 0x03, 0xe9, 0x62, 0x79, 0x65]))
    expect(textFrame('Hello')).toEqual(Buffer.from([0x81, 5, 0x48, 0x65, 0x6c, 0x6c, 0x6f]))
    expect(textFrame('x'.repeat(300)).subarray(0, 4)).toEqual(Buffer.from([0x81, 126, 1, 44]))
    expect(() => textFrame('x'.repeat(65_536))).toThrow(RangeError)
  })

  it('cut a long reason between characters', () => {
    const frame = closeFrame(1001, `${'x'.repeat(122)}ä`)
    expect(frame[1]).toBe(2 + 122)
    expect(closeFrame(1001, 'x'.repeat(200))[1]).toBe(125)
  })
})

describe('writeRawProblem', () => {
  it('answers an upgrade with a problem document and closes', async () => {
    const { server, port } = await serve(() => {})
    server.on('upgrade', (_request, socket) => {
      const problem = toProblem(Object.assign(new Error('x'), { name: 'TimeoutError' }), { requestId: 'r-1' })
      writeRawProblem(
        socket,
        { ...problem, status: 401 },
        { 'www-authenticate': 'Bearer', 'x-own': 'a\r\nb: c' },
      )
    })
    const client = await open(port)
    client.socket.write(upgrade)
    await once(client.socket, 'close')
    const [head = '', body = ''] = String(client.received()).split('\r\n\r\n')
    const lines = head.split('\r\n')
    expect(lines[0]).toBe('HTTP/1.1 401 Unauthorized')
    expect(lines).toEqual(
      expect.arrayContaining([
        'connection: close',
        'www-authenticate: Bearer',
        'x-request-id: r-1',
        'x-own: a b: c',
      ]),
    )
    expect(lines).toContain(`content-length: ${Buffer.byteLength(body)}`)
    expect(JSON.parse(body)).toMatchObject({ status: 401, kind: 'timeout' })
  })

  it('survives a client that has reset the connection', async () => {
    const { server, port } = await serve(() => {})
    const client = await open(port)
    const upgraded = once(server, 'upgrade')
    client.socket.write(upgrade)
    const [, socket] = (await upgraded) as [http.IncomingMessage, Socket]
    client.socket.resetAndDestroy()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    writeRawProblem(socket, toProblem(new Error('x')))
    await closed
    writeRawProblem(socket, toProblem(new Error('x')))
  })
})
