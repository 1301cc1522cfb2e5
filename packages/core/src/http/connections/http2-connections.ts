import {
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { endEventStream, isEventStream } from './event-streams.ts'
import { addListeners } from './server-listeners.ts'
import type { AnyServer, Connection, ConnectionFollower } from './connection.ts'

/** The highest stream id: a GOAWAY with it announces the end and refuses no stream yet (RFC 9113, section 6.8). */
const everyStream = 2 ** 31 - 1

type Answer = readonly [Http2ServerRequest, Http2ServerResponse]

/** Follows the connections that speak HTTP/2. */
export function followHttp2(
  server: AnyServer,
  endsEventStreams: boolean,
  onOpened: (connection: Connection) => void,
  onClosed: () => void,
): ConnectionFollower {
  const connections = new Set<Connection>()
  const answers = new WeakMap<ServerHttp2Stream, Answer>()
  const begin = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    if (request.httpVersionMajor === 2) answers.set(request.stream, [request, response])
  }
  const release = addListeners(server, {
    observed: {
      session(session: ServerHttp2Session) {
        const connection = new Http2Connection(session, endsEventStreams ? answers : undefined)
        connections.add(connection)
        session.once('close', () => {
          connections.delete(connection)
          onClosed()
        })
        onOpened(connection)
      },
    },
    answering: { request: begin, checkContinue: begin, checkExpectation: begin },
  })
  return { connections, release }
}

class Http2Connection implements Connection {
  readonly isWebSocket = false
  readonly #session: ServerHttp2Session
  readonly #answers: WeakMap<ServerHttp2Stream, Answer> | undefined
  readonly #streams = new Set<ServerHttp2Stream>()
  #graceMs = Infinity
  #timer: NodeJS.Timeout | undefined

  constructor(session: ServerHttp2Session, answers: WeakMap<ServerHttp2Stream, Answer> | undefined) {
    this.#session = session
    this.#answers = answers
    session.on('stream', (stream) => {
      this.#streams.add(stream)
      stream.once('close', () => this.#streams.delete(stream))
    })
    session.once('close', () => clearTimeout(this.#timer))
  }

  get requests(): number {
    return this.#streams.size
  }

  announceClose(): void {
    if (!this.#session.destroyed) this.#session.goaway(constants.NGHTTP2_NO_ERROR, everyStream)
  }

  drain(graceMs: number): void {
    for (const stream of this.#answers === undefined ? [] : this.#streams) {
      if (!isEventStream(stream.sentHeaders?.['content-type'])) continue
      const [request, response] = this.#answers?.get(stream) ?? []
      if (request && response) endEventStream(response, request, stream)
      else endEventStream(stream)
    }
    if (graceMs >= this.#graceMs) return
    this.#graceMs = graceMs
    clearTimeout(this.#timer)
    // Requests that were sent before the announcement arrived are still taken.
    this.#timer = setTimeout(() => this.#session.close(), graceMs)
  }

  destroy(): void {
    this.#session.destroy()
  }
}
