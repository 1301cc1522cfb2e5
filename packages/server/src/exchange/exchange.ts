import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ClientInfo, QuintetError } from '@quintet/core'
import { problemHeaders, requestIdOf, statusOf, traceparentOf } from '@quintet/core/http'
import {
  noCredentials,
  toQuintetError,
  type Credentials,
  type IncomingCall,
  type Operation,
} from '@quintet/core/kit'
import { describeKind } from '../request/describe-kind.ts'
import { deadlineOf } from '../request/call-headers.ts'
import { serverStatuses, toProblem } from '../problem.ts'
import { chooseCoding, createCompressor } from '../request/content-coding.ts'
import { challengeOf, credentialsOf, isBasic, presentedScheme } from '../request/credentials.ts'
import { declaredLength } from '../request/read-body.ts'
import type { Site } from './site.ts'

/** How much of an unwanted body is read away before the connection is closed on it instead. */
const unwantedBytes = 64 * 1024
/** How long a client may go on sending a body that was already answered, in milliseconds. */
const lingerTime = 1_000

/** One request and its answer. */
export class Exchange {
  readonly site: Site
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  #expectsContinue: boolean
  #controller: AbortController | undefined
  #broken = false
  #client: ClientInfo | undefined
  #credentials: Credentials | undefined

  constructor(site: Site, request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    this.site = site
    this.request = request
    this.response = response
    this.requestId = requestIdOf(request.headers['x-request-id'])
    // A client of HTTP/1.0 does not know interim answers (RFC 9110, section 10.1.1).
    this.#expectsContinue = expectsContinue && request.httpVersion !== '1.0'
  }

  /** Where the request comes from. Made when it is asked for. */
  get client(): ClientInfo {
    return (this.#client ??= this.site.options.trustedProxies.client(this.request))
  }

  /** Aborts when the client goes away before it has its answer. Made on demand. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      const { response } = this
      const leave = (): void => {
        if (!response.writableFinished)
          controller.abort(new DOMException('The client went away.', 'AbortError'))
      }
      if (response.closed || response.destroyed) leave()
      else response.once('close', leave)
    }
    return this.#controller.signal
  }

  /** Ends what runs for this request, though the client is still there. */
  abort(reason: unknown): void {
    void this.signal
    this.#controller?.abort(reason)
  }

  /** @throws QuintetError `ERR_SERVER_BAD_REQUEST` when the credentials or the deadline are malformed. */
  call(operation: Operation, streams = false): HttpCall {
    const { headers } = this.request
    return new HttpCall(
      this,
      operation,
      operation.access === 'public' && this.#isForRoute() ? noCredentials : this.credentials(),
      traceparentOf(headers['traceparent']),
      deadlineOf(headers['x-deadline-ms'], headers['x-timeout-ms'], streams),
    )
  }

  #isForRoute(): boolean {
    return this.site.options.credentials === undefined && isBasic(this.request)
  }

  /** The credentials of the request. One object for all its calls: a proof of possession is good for one request. */
  credentials(): Credentials {
    return (this.#credentials ??= this.#readCredentials())
  }

  #readCredentials(): Credentials {
    const { options } = this.site
    if (options.credentials !== undefined) return this.#ownCredentials(options.credentials)
    return credentialsOf(this.request, options.trustedProxies)
  }

  /** @throws what the option throws; a TypeError when it gives no credentials at once. Both are logged: every call fails. */
  #ownCredentials(read: (request: IncomingMessage) => unknown): Credentials {
    try {
      const given = read(this.request)
      if (typeof given === 'object' && given !== null && 'scheme' in given) return given as Credentials
      if (given instanceof Promise) given.catch(() => {})
      throw new TypeError(
        `http.credentials: must return credentials at once, such as noCredentials, not ${describeKind(given)}.`,
      )
    } catch (error) {
      if (toQuintetError(error).kind === 'internal')
        this.site.host.logger.error({ err: error, requestId: this.requestId }, 'http.credentials failed')
      throw error
    }
  }

  /** Asks for the body, of a client that waits to be asked. */
  acceptBody(): void {
    if (!this.#expectsContinue) return
    this.#expectsContinue = false
    this.response.writeContinue()
  }

  /** The headers that every answer carries, as a flat list. */
  headers(): string[] {
    const { options } = this.site
    const headers = ['x-request-id', this.requestId, ...options.securityHeaders]
    if (options.cors !== undefined) headers.push(...options.cors.headers(this.request))
    return headers
  }

  /** Answers with a JSON text, compressed where that pays. */
  sendJson(status: number, text: string, extra: readonly string[] = [], type = 'application/json'): void {
    const { response, request } = this
    if (response.headersSent || response.destroyed) return
    const length = Buffer.byteLength(text)
    const headers = this.headers()
    headers.push('content-type', type, ...extra)
    // What a POST is answered with is stored nowhere without being told so. (RFC 9110, section 9.3.3)
    if (request.method !== 'POST') headers.push('cache-control', 'no-store')
    if (!request.complete) this.#leaveBody()
    const threshold = this.site.options.compression
    if (threshold !== undefined && length >= threshold) {
      const coding = chooseCoding(request.headers['accept-encoding'])
      headers.push('vary', 'accept-encoding')
      if (coding !== undefined) {
        headers.push('content-encoding', coding)
        response.writeHead(status, headers)
        const compressor = createCompressor(coding)
        compressor.on('error', () => response.destroy())
        compressor.pipe(response)
        compressor.end(text)
        return
      }
    }
    headers.push('content-length', String(length))
    response.writeHead(status, headers)
    response.end(request.method === 'HEAD' ? undefined : text)
  }

  sendEmpty(status: number, extra: readonly string[] = []): void {
    if (this.response.headersSent || this.response.destroyed) return
    if (!this.request.complete) this.#leaveBody()
    const headers = this.headers()
    headers.push(...extra)
    if (status !== 204 && status !== 304) headers.push('content-length', '0')
    this.response.writeHead(status, headers)
    this.response.end()
  }

  /** Answers a request for what there is not, and has it counted under a name that no client can choose. */
  failUnknown(operation: Operation, error: QuintetError, extra: readonly string[] = []): void {
    this.fail(error, extra)
    const { requestId } = this
    this.site.host.pipeline.reportRefused(
      { operation, requestId, statusOf: (failure) => failure && statusOf(failure, serverStatuses) },
      error,
    )
  }

  /** Answers with a problem document; ends the connection when an answer has already begun. */
  fail(thrown: unknown, extra: readonly string[] = []): void {
    if (this.response.headersSent) {
      // What runs for a request that was broken off fails once more.
      if (this.#broken && this.response.writableEnded) return
      this.response.destroy()
      return
    }
    const problem = toProblem(thrown, this.requestId)
    const headers = [...extra, ...this.challenge(thrown)]
    const { 'retry-after': retryAfter } = problemHeaders(problem)
    if (retryAfter !== undefined) headers.push('retry-after', retryAfter)
    // What was ambiguous once may go on to be: nothing more is read from this connection.
    if (problem.code === 'ERR_SERVER_BAD_REQUEST') headers.push('connection', 'close')
    this.sendJson(problem.status, JSON.stringify(problem), headers, 'application/problem+json')
  }

  /** The headers that tell a refused caller which credentials are wanted, as a flat list; empty for other failures. */
  challenge(thrown: unknown): string[] {
    const { request, site } = this
    return Object.entries(challengeOf(site.host.pipeline, thrown, presentedScheme(request))).flat()
  }

  /** Answers with an error in the middle of what runs for this request, and ends that. */
  breakOff(error: Error): void {
    this.#broken = true
    this.fail(error)
    this.abort(error)
    // Node tells a request that has its answer nothing more: whoever reads its body would wait for ever.
    const { request, response } = this
    const leave = (): void => void request.destroy()
    if (response.closed) leave()
    else response.once('close', leave)
  }

  /** Does not wait for the rest of a body that is not read. */
  #leaveBody(): void {
    const { request, response } = this
    const declared = declaredLength(request)
    if (declared !== undefined && declared <= unwantedBytes && !this.#expectsContinue) return
    // The client reads the answer while it still sends, so the connection ends a little later.
    response.once('finish', () => {
      const timer = setTimeout(() => {
        if (!request.complete) request.socket.destroy()
      }, lingerTime)
      request.once('close', () => clearTimeout(timer))
      request.resume()
    })
  }
}

/** A call as it came over HTTP. */
export class HttpCall implements IncomingCall {
  /** The status of a call that succeeds. */
  success = 200
  readonly operation: Operation
  readonly credentials: Credentials
  readonly traceparent: string | undefined
  readonly deadline: number | undefined
  readonly #exchange: Exchange

  constructor(
    exchange: Exchange,
    operation: Operation,
    credentials: Credentials,
    traceparent: string | undefined,
    deadline: number | undefined,
  ) {
    this.#exchange = exchange
    this.operation = operation
    this.credentials = credentials
    this.traceparent = traceparent
    this.deadline = deadline
  }

  get requestId(): string {
    return this.#exchange.requestId
  }

  get signal(): AbortSignal {
    return this.#exchange.signal
  }

  get client(): ClientInfo {
    return this.#exchange.client
  }

  statusOf(failure: QuintetError | undefined): number {
    const { response } = this.#exchange
    if (response.headersSent) return response.statusCode
    return failure === undefined ? this.success : statusOf(failure, serverStatuses)
  }
}
