import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import { connect as connectTcp, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { until } from '@quintet/test-kit'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { gracefulShutdown, type AnyServer, type ShutdownOptions } from '../../src/index.ts'

type Listener = (request: http.IncomingMessage, response: http.ServerResponse) => void
interface Answer {
  readonly body: string
  readonly connection: string | undefined
}
interface Client {
  get(path: string): Promise<Answer>
  close(): void
}

let certificate: { readonly key: string; readonly cert: string }
beforeAll(() => {
  const directory = mkdtempSync(join(tmpdir(), 'quintet-tls-'))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync(
    'openssl',
    ['req', '-x509', ...curve, '-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=localhost'],
    { stdio: 'ignore' },
  )
  certificate = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  rmSync(directory, { recursive: true })
})

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).toReversed()) cleanup()
})

function http1Client(secure: boolean, port: number, keepAlive: boolean): Client {
  const module = secure ? https : http
  const agent = new module.Agent({ keepAlive, maxSockets: 1 })
  return {
    get: (path) =>
      new Promise((resolve, reject) => {
        const options = { host: '127.0.0.1', port, path, agent, rejectUnauthorized: false }
        module
          .get(options, (response) => {
            const { connection } = response.headers
            text(response).then((body) => resolve({ body, connection }), reject)
          })
          .on('error', reject)
      }),
    close: () => agent.destroy(),
  }
}

function http2Client(secure: boolean, port: number): Client {
  const session = http2.connect(`${secure ? 'https' : 'http'}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
  })
  session.on('error', () => undefined)
  return {
    get: async (path) => ({ body: await text(session.request({ ':path': path })), connection: undefined }),
    close: () => session.destroy(),
  }
}

interface Protocol {
  readonly name: string
  create(listener: Listener): AnyServer
  client(port: number): Client
}

const asHttp2 = (listener: Listener) => listener as never
const secure = (): object => ({ ...certificate })
const protocols: readonly Protocol[] = [false, true].flatMap((keepAlive): Protocol[] => {
  const suffix = keepAlive ? 'with keep-alive' : 'without keep-alive'
  return [
    {
      name: `http ${suffix}`,
      create: (listener) => http.createServer(listener),
      client: (port) => http1Client(false, port, keepAlive),
    },
    {
      name: `https ${suffix}`,
      create: (listener) => https.createServer(secure(), listener),
      client: (port) => http1Client(true, port, keepAlive),
    },
    {
      name: `https beside http2 ${suffix}`,
      create: (listener) => http2.createSecureServer({ ...secure(), allowHTTP1: true }, asHttp2(listener)),
      client: (port) => http1Client(true, port, keepAlive),
    },
  ]
})
const multiplexed: readonly Protocol[] = [
  {
    name: 'http2',
    create: (listener) => http2.createSecureServer(secure(), asHttp2(listener)),
    client: (port) => http2Client(true, port),
  },
  {
    name: 'http2 without TLS',
    create: (listener) => http2.createServer(asHttp2(listener)),
    client: (port) => http2Client(false, port),
  },
]

describe.each([...protocols, ...multiplexed])('gracefulShutdown over $name', ({ create, client }) => {
  let finish: () => void
  let begun: number
  let port: number

  async function start(options: ShutdownOptions = {}): Promise<{
    readonly shutdown: () => Promise<void>
    readonly server: AnyServer
    readonly client: Client
  }> {
    const held: (() => void)[] = []
    begun = 0
    finish = () => {
      for (const end of held.splice(0)) end()
    }
    const server = create((request, response) => {
      if (request.url === '/slow') {
        begun++
        held.push(() => response.end('done'))
      } else if (request.url === '/streaming') {
        begun++
        response.writeHead(200)
        response.write('begin ')
        held.push(() => response.end('end'))
      } else if (request.url === '/events') {
        begun++
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('data: 1\n\n')
        const ticking = setInterval(() => response.write('data: 2\n\n'), 5)
        response.once('close', () => clearInterval(ticking))
      } else response.end('hello')
    })
    const handle = gracefulShutdown(server, { crashes: false, signals: [], ...options })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
    const made = client(port)
    cleanups.push(() => {
      made.close()
      handle[Symbol.dispose]()
      server.close()
    })
    return { server, client: made, shutdown: () => handle.shutdown() }
  }

  it.each(['/slow', '/streaming'])('answers %s, in progress, in full', async (path) => {
    const { client, shutdown, server } = await start()
    const answer = client.get(path)
    await until(() => begun === 1)
    const stopped = shutdown()
    await until(() => !server.listening)
    finish()
    expect((await answer).body).toBe(path === '/slow' ? 'done' : 'begin end')
    await stopped
  })

  it('ends event streams, which have no end of their own, while they go on writing', async () => {
    const { client, shutdown } = await start()
    const events = client.get('/events')
    await until(() => begun === 1)
    await shutdown()
    expect((await events).body).toContain('data: 1')
  })

  it('closes an idle connection and one that is silent', async () => {
    const { client, shutdown } = await start()
    await client.get('/')
    const silent = connectTcp(port, '127.0.0.1')
    await once(silent, 'connect')
    silent.on('error', () => undefined).resume()
    const closed = once(silent, 'close')
    await shutdown()
    await closed
  })

  it('names requests that outlast the drain, and breaks them off', async () => {
    const { client, shutdown } = await start({ drainTimeout: 100 })
    const answer = client.get('/slow').then(
      ({ body }) => body,
      () => '',
    )
    await until(() => begun === 1)
    await expect(shutdown()).rejects.toThrow('connections (1 request(s), 0 WebSocket(s)')
    expect(await answer).toBe('')
  })
})

describe.each(protocols.filter(({ name }) => name.endsWith('with keep-alive')))(
  'gracefulShutdown under load over $name',
  ({ create, client }) => {
    it.each([0, 50])(
      'costs busy keep-alive connections no request, with %d ms for balancers',
      async (delay) => {
        const server = create((_request, response) => void setImmediate(() => response.end('hello')))
        const handle = gracefulShutdown(server, { crashes: false, signals: [], propagationDelay: delay })
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        const { port } = server.address() as AddressInfo
        let answers = 0
        const clients = Array.from({ length: 15 }, () => client(port))
        const load = clients.map(async (each) => {
          for (;;) {
            const { connection } = await each.get('/')
            answers++
            // As a balancer does: the next request goes to another server.
            if (connection === 'close') return
          }
        })
        await until(() => answers > 200)
        await handle.shutdown()
        await Promise.all(load)
        for (const each of clients) each.close()
        handle[Symbol.dispose]()
      },
    )
  },
)

describe.each(protocols.filter(({ name }) => name.endsWith('with keep-alive')))(
  'gracefulShutdown over $name',
  ({ create, client }) => {
    it('answers a request that comes on an idle connection as the listening ends', async () => {
      const server = create((_request, response) => response.end('hello'))
      using handle = gracefulShutdown(server, { crashes: false, signals: [] })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const made = client((server.address() as AddressInfo).port)
      await made.get('/')
      const stopped = handle.shutdown()
      await until(() => !server.listening)
      expect((await made.get('/')).body).toBe('hello')
      await stopped
      made.close()
    })
  },
)

describe('gracefulShutdown', () => {
  async function open(server: http.Server | https.Server): Promise<number> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => server.close())
    return (server.address() as AddressInfo).port
  }

  it('tells WebSocket clients behind TLS, and waits for none that does not answer', async () => {
    const server = https.createServer(certificate)
    using handle = gracefulShutdown(server, { crashes: false, signals: [], drainTimeout: '2s' })
    const webSockets = new WebSocketServer({ server })
    const port = await open(server)
    const options = { rejectUnauthorized: false }
    const client = new WebSocket(`wss://127.0.0.1:${port}`, options)
    const frozen = new WebSocket(`wss://127.0.0.1:${port}`, options)
    await Promise.all([once(client, 'open'), once(frozen, 'open')])
    frozen.pause()
    frozen.on('error', () => undefined)
    const closed = once(client, 'close')
    await handle.shutdown()
    const [code, reason] = (await closed) as [number, Buffer]
    expect({ code, reason: reason.toString() }).toEqual({ code: 1001, reason: 'server_shutdown' })
    frozen.terminate()
    webSockets.close()
  })

  it('never writes a close frame into a handshake that is not answered', async () => {
    const server = http.createServer()
    using handle = gracefulShutdown(server, { crashes: false, signals: [], drainTimeout: '2s' })
    let deciding: Socket | undefined
    server.on('upgrade', (_request, socket) => {
      deciding = socket as Socket
    })
    const port = await open(server)
    const raw = connectTcp(port, '127.0.0.1')
    let seen = Buffer.alloc(0)
    raw.on('data', (chunk) => (seen = Buffer.concat([seen, chunk]))).on('error', () => undefined)
    raw.write('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    await until(() => deciding)
    const closed = once(raw, 'close')
    await handle.shutdown()
    await closed
    expect(seen.length).toBe(0)
  })

  it('outlives a reset of a connection that was handed over and has no listener yet', async () => {
    const server = http.createServer()
    using _handle = gracefulShutdown(server, { crashes: false, signals: [] })
    let handed: Socket | undefined
    server.on('connect', (_request, socket) => {
      handed = socket as Socket
      // A write onto the reset connection fails.
      handed.write('HTTP/1.1 200 OK\r\n\r\n')
    })
    const port = await open(server)
    const raw = connectTcp(port, '127.0.0.1')
    raw.on('error', () => undefined)
    raw.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(raw, 'data')
    const socket = await until(() => handed)
    const failed = new Promise((resolve) => socket.once('close', resolve))
    raw.resetAndDestroy()
    socket.resume()
    await failed
    expect(socket.errored).not.toBeNull()
  })

  it('answers pipelined requests in full, and asks to close with the last one only', async () => {
    const ends: (() => void)[] = []
    const server = http.createServer((_request, response) => void ends.push(() => response.end('x')))
    using handle = gracefulShutdown(server, { crashes: false, signals: [] })
    const port = await open(server)
    const raw = connectTcp(port, '127.0.0.1')
    let seen = ''
    raw.on('data', (chunk) => (seen += String(chunk)))
    const ended = once(raw, 'end')
    raw.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => ends.length === 2)
    const stopped = handle.shutdown()
    await until(() => !server.listening)
    for (const end of ends) end()
    await ended
    await stopped
    expect(seen.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    expect(seen.match(/connection: close/gi)).toHaveLength(1)
    expect(seen.lastIndexOf('HTTP/1.1 200')).toBeLessThan(seen.search(/connection: close/i))
  })

  it('changes nothing about upgrades and expectations that the application does not take', async () => {
    const server = http.createServer((_request, response) => response.end('plain'))
    using _handle = gracefulShutdown(server, { crashes: false, signals: [] })
    expect(server.listenerCount('upgrade')).toBe(0)
    expect(server.listenerCount('checkContinue')).toBe(0)
    server.on('checkContinue', (_request, response) => response.writeHead(417).end())
    await until(() => server.listenerCount('checkContinue') > 1)
  })

  it('removes every listener', () => {
    const server = http.createServer(() => undefined)
    const before = server.eventNames().map((name) => server.listenerCount(name))
    gracefulShutdown(server, { crashes: false, signals: [] })[Symbol.dispose]()
    expect(server.eventNames().map((name) => server.listenerCount(name))).toEqual(before)
  })

  it('says what it needs when it is given an application', () => {
    expect(() => gracefulShutdown((() => undefined) as never)).toThrow(
      'needs a server of node:http, node:https or node:http2, which app.listen() returns; this is a function',
    )
    expect(() => gracefulShutdown({} as never)).toThrow('this is object')
  })
})
