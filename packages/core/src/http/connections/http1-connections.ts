import { Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer, type TLSSocket } from 'node:tls'
import { closeCode, closeFrame } from '../close-frame.ts'
import { endEventStream, isEventStream } from './event-streams.ts'
import { addListeners } from './server-listeners.ts'
import type { AnyServer, Connection, ConnectionFollower } from './connection.ts'

/** The connections of HTTP/1.1, which have sockets of their own. */
export interface Http1Follower extends ConnectionFollower {
  isAnswering(socket: Socket): boolean
  handOver(socket: Socket): void
}

/** Follows the connections that speak HTTP/1.1, WebSocket or nothing yet, in clear or behind TLS. */
export function followHttp1(
  server: AnyServer,
  endsEventStreams: boolean,
  onOpened: (connection: Connection) => void,
  onClosed: () => void,
): Http1Follower {
  const isTls = server instanceof TlsServer
  const connections = new Set<Connection>()
  const bySocket = new Map<Socket, Http1Connection>()
  /** TCP connections whose TLS handshake is not done, by their two ends. */
  const handshakes = new Map<string, Handshake>()

  const add = (socket: Socket, connection: Connection): void => {
    connections.add(connection)
    socket.once('close', () => remove(connection))
    onOpened(connection)
  }
  const remove = (connection: Connection): void => {
    if (connections.delete(connection)) onClosed()
  }
  const follow = (socket: Socket): Http1Connection => {
    const known = bySocket.get(socket)
    if (known !== undefined) return known
    const connection = new Http1Connection(socket, endsEventStreams)
    bySocket.set(socket, connection)
    socket.once('close', () => bySocket.delete(socket))
    add(socket, connection)
    return connection
  }

  const release = addListeners(server, {
    observed: {
      connection(socket: Socket) {
        // Plain HTTP/2 has no other protocol on its port.
        if (!isTls) {
          if (server instanceof HttpServer) follow(socket)
          return
        }
        const handshake = new Handshake(socket)
        const ends = endsOf(socket)
        handshakes.set(ends, handshake)
        socket.once('close', () => {
          if (handshakes.get(ends) === handshake) handshakes.delete(ends)
        })
        add(socket, handshake)
      },
      secureConnection(socket: TLSSocket) {
        const ends = endsOf(socket)
        const handshake = handshakes.get(ends)
        // Followed before the handshake is forgotten, so that the count is at no moment too low.
        if (socket.alpnProtocol !== 'h2') follow(socket)
        if (handshake === undefined) return
        handshakes.delete(ends)
        handshake.done()
        remove(handshake)
      },
    },
    answering: {
      request: begin,
      checkContinue: begin,
      checkExpectation: begin,
      upgrade: leaveHttp,
      connect: leaveHttp,
    },
  })

  function begin(request: IncomingMessage, response: ServerResponse): void {
    if (request.httpVersionMajor === 1) follow(request.socket).begin(request, response)
  }

  function leaveHttp(request: IncomingMessage): void {
    if (request.httpVersionMajor === 1) follow(request.socket).leaveHttp(request)
  }

  return {
    connections,
    release,
    isAnswering: (socket) => (bySocket.get(socket)?.requests ?? 0) > 0,
    handOver(socket) {
      const connection = bySocket.get(socket)
      if (connection === undefined) return
      bySocket.delete(socket)
      connection.leave()
      remove(connection)
    },
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return [remoteAddress, remotePort, localAddress, localPort].join(' ')
}

/** A connection whose TLS handshake is in progress. */
class Handshake implements Connection {
  readonly requests = 0
  readonly isWebSocket = false
  readonly #socket: Socket
  #graceMs = Infinity
  #timer: NodeJS.Timeout | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.once('close', () => this.done())
  }

  announceClose(): void {}

  drain(graceMs: number): void {
    if (graceMs >= this.#graceMs) return
    this.#graceMs = graceMs
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#socket.destroy(), graceMs)
  }

  done(): void {
    clearTimeout(this.#timer)
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

interface Tunnel {
  readonly isWebSocket: boolean
  /** What had been sent before the connection was handed over. */
  readonly sentBefore: number
}

class Http1Connection implements Connection {
  readonly #socket: Socket
  readonly #endsEventStreams: boolean
  readonly #answers = new Map<ServerResponse, IncomingMessage>()
  #tunnel: Tunnel | undefined
  #announced = false
  /** The answer that carries our `Connection: close`. */
  #last: ServerResponse | undefined
  #graceMs: number | undefined
  #timer: NodeJS.Timeout | undefined
  #told = false
  #left = false

  constructor(socket: Socket, endsEventStreams: boolean) {
    this.#socket = socket
    this.#endsEventStreams = endsEventStreams
    socket.once('close', () => clearTimeout(this.#timer))
  }

  get requests(): number {
    return this.#answers.size
  }

  get isWebSocket(): boolean {
    return this.#tunnel?.isWebSocket === true
  }

  begin(request: IncomingMessage, response: ServerResponse): void {
    this.#stopTimer()
    this.#answers.set(response, request)
    if (this.#endsEventStreams) keepHeadersReadable(response)
    if (this.#announced) this.#announceOn(response)
    response.once('close', () => {
      this.#answers.delete(response)
      if (this.#last === response) this.#last = undefined
      if (this.#graceMs !== undefined) this.#closeWhenIdle(this.#graceMs)
    })
  }

  leaveHttp({ method, headers }: IncomingMessage): void {
    // Node takes its own listener off; a reset before the application has added one would end the process.
    this.#socket.on('error', () => undefined)
    this.#stopTimer()
    this.#tunnel = {
      isWebSocket: method !== 'CONNECT' && headers.upgrade?.toLowerCase() === 'websocket',
      sentBefore: this.#socket.bytesWritten,
    }
  }

  /** The connection has another owner from now on, who ends it. */
  leave(): void {
    this.#stopTimer()
    this.#left = true
  }

  announceClose(): void {
    this.#announced = true
    const latest = [...this.#answers.keys()].at(-1)
    if (latest !== undefined) this.#announceOn(latest)
  }

  drain(graceMs: number): void {
    if (this.#tunnel === undefined && graceMs < (this.#graceMs ?? graceMs)) this.#stopTimer()
    this.#graceMs = graceMs
    if (this.#tunnel !== undefined) this.#endTunnel(this.#tunnel, graceMs)
    else {
      for (const [response, request] of this.#endsEventStreams ? this.#answers : []) {
        if (response.headersSent && isEventStream(response.getHeader('content-type')))
          endEventStream(response, request)
      }
      this.#closeWhenIdle(graceMs)
    }
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Of pipelined requests only the last one ends the connection; Node would leave the others unanswered. */
  #announceOn(response: ServerResponse): void {
    if (this.#last === response) return
    if (this.#last !== undefined && !this.#last.headersSent) this.#last.removeHeader('connection')
    this.#last = response
    if (!response.headersSent) response.setHeader('connection', 'close')
  }

  #closeWhenIdle(graceMs: number): void {
    if (this.#left || this.#timer !== undefined || this.#answers.size > 0 || this.#tunnel !== undefined)
      return
    const read = this.#socket.bytesRead
    this.#after(graceMs, () => {
      // The head of a request that is on its way gets the same time once more.
      if (this.#socket.bytesRead > read) this.#after(graceMs, () => this.#socket.destroySoon())
      else this.#socket.destroySoon()
    })
  }

  /** Where the whole process stood still, what has come meanwhile is read first: it may be a request. */
  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      setImmediate(() => {
        if (this.#timer === timer) run()
      })
    }, ms)
    this.#timer = timer
  }

  #endTunnel({ isWebSocket, sentBefore }: Tunnel, graceMs: number): void {
    if (!isWebSocket) {
      this.#socket.destroySoon()
      return
    }
    const isOpen = this.#socket.bytesWritten > sentBefore
    if (isOpen && !this.#told) {
      this.#told = true
      this.#stopTimer()
      if (this.#socket.writable) this.#socket.write(closeFrame(closeCode.goingAway, 'server_shutdown'))
    }
    // A handshake that is not answered, and a client that does not answer the close frame, are not waited for.
    this.#timer ??= setTimeout(() => this.#socket.destroy(), isOpen ? graceMs * closingFactor : graceMs)
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

/** How many times the grace of an idle connection a WebSocket client has to answer a close frame. */
const closingFactor = 4

/** Node forgets headers that are given to `writeHead` alone; with a header table it keeps them. */
function keepHeadersReadable(response: ServerResponse): void {
  response.setHeader('connection', 'close')
  response.removeHeader('connection')
}
