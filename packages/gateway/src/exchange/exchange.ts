import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import type { AnswerHead } from '../http-client/answer-head.ts'
import type { UpstreamConnection, UpstreamHandler, UpstreamRequest } from '../http-client/connection.ts'
import { UpstreamFailure, type FailedAt } from '../http-client/upstream-failure.ts'
import type { LoadKind, Upstream } from '../upstream/upstream.ts'
import { ClientAnswer } from './client-answer.ts'
import type { ExchangeHost, ExchangePlan, ExchangeRecord } from './exchange-host.ts'
import { RequestBody } from './request-body.ts'
import { requestHead } from './request-head.ts'
import { readResponseHeaders } from './response-headers.ts'
import { fromUpstreamError } from './upstream-error.ts'
import { isRepeatable, isUpstreamsFault, mayRetry } from './retry-policy.ts'

const clientGone = new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has left.')
const never = Number.POSITIVE_INFINITY

/** One request on its way through: to an upstream, perhaps to a second one, and the answer back. */
export class Exchange implements ExchangeRecord, UpstreamHandler {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly plan: ExchangePlan
  readonly takeSocket: (() => Socket) | undefined
  readonly startedAt: number = performance.now()
  attempts = 0
  upstream: Upstream | undefined
  readonly #host: ExchangeHost
  readonly #answer: ClientAnswer
  /** What the exchange counts as at its upstream. */
  readonly #kind: LoadKind
  /** The request for the upstream. */
  readonly #asked: UpstreamRequest
  readonly #tried: Upstream[] = []
  readonly #unreachable: Upstream[] = []
  #connection: UpstreamConnection | undefined
  #body: RequestBody | undefined
  /** The upstream has ended its answer; the client may still be reading it. */
  #answered = false
  #over = false
  /** Why the exchange was ended from this side. */
  #stopped: GatewayError | undefined
  #attemptedAt = 0
  /** Since when the upstream has had a request without a body, and has said nothing. */
  #askedAt = never
  /** Since when the upstream owes the next bytes of its answer. */
  #quietSince = never
  /** Since when the client has not taken what is there for it. */
  #blockedSince = never

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    plan: ExchangePlan,
    host: ExchangeHost,
    takeSocket: (() => Socket) | undefined,
  ) {
    this.request = request
    this.response = response
    this.plan = plan
    this.takeSocket = takeSocket
    this.#host = host
    this.#answer = new ClientAnswer(request, response)
    this.#kind = plan.upgrade ? 'websockets' : 'requests'
    const { method = 'GET' } = request
    const repeatable = isRepeatable(method, plan)
    this.#asked = { method, head: requestHead(method, plan), upgrade: plan.upgrade, repeatable }
  }

  start(): void {
    this.#host.retries.budget.deposit()
    this.response.on('close', () => this.#closed())
    this.#attempt()
  }

  /** Ends the exchange because its request cannot be read on: with an answer, or without one when the client has left. */
  breakOff(reason: GatewayError = clientGone): void {
    this.#stop(reason)
  }

  /** Ends the exchange when one of its sides has stood still for longer than the route allows. */
  checkIdle(now: number): void {
    const { headers, idle } = this.plan.route.timeouts
    // What waits for an earlier answer of its connection, or for the rest of its request, does not stand still.
    const waits = !this.response.socket || (this.#answered && !this.response.writableEnded)
    if (waits && this.#blockedSince < now) this.#blockedSince = now
    const body = this.#body
    if (headers !== 0 && !this.#answer.begun && now - (body?.endedAt ?? this.#askedAt) > headers)
      this.#stop(silent('The service did not answer in time.', headers))
    if (idle === 0) return
    if (body && now - body.waitingSince > idle)
      this.#stop(
        new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The request body stood still for too long.'),
      )
    else if (body && now - body.blockedSince > idle)
      this.#stop(silent('The service has read nothing for too long.', idle))
    else if (now - this.#quietSince > idle) this.#stop(silent('The service did not answer in time.', idle))
    else if (now - this.#blockedSince > idle)
      this.#stop(new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has read nothing for too long.'))
  }

  #attempt(): void {
    const { plan } = this
    const { group, route } = plan
    const most = plan.upgrade ? route.maxWebSockets : route.maxConcurrentRequests
    if (group.load(this.#kind) >= most) {
      const what = plan.upgrade ? 'WebSockets open' : 'requests in progress'
      this.#fail(unavailable('ERR_GATEWAY_OVERLOADED', `There are too many ${what}.`))
      return
    }
    const before = { tried: this.#tried, unreachable: this.#unreachable }
    const upstream = group.choose(plan.affinityKey, before, this.#kind)
    if (!upstream) {
      this.#fail(unavailable('ERR_GATEWAY_NO_UPSTREAM', 'The service is not available.'))
      return
    }
    this.attempts += 1
    this.upstream = upstream
    this.#tried.push(upstream)
    upstream.load[this.#kind] += 1
    this.#attemptedAt = performance.now()
    this.#askedAt = never
    this.#body = plan.hasBody ? this.#openBody() : undefined
    this.#connection = upstream.pool.send(this.#asked, this)
  }

  #openBody(): RequestBody {
    const limit = this.plan.route.maxRequestSize
    return new RequestBody(this.request, {
      chunked: this.plan.chunked,
      limit,
      onStart: () => {
        if (this.plan.expectsContinue) this.response.writeContinue()
      },
      onTooLarge: () => {
        this.#stop(
          new GatewayError('ERR_GATEWAY_BODY_TOO_LARGE', `The request body is larger than ${limit} bytes.`),
        )
      },
    })
  }

  get sent(): boolean {
    return this.#body?.complete ?? true
  }

  onSent(socket: Socket): void {
    this.#askedAt = performance.now()
    this.#body?.start(socket)
  }

  onInterim(status: number, headers: readonly string[]): void {
    // 100 and 102 concern the hop to the upstream; a client that waits for 100 gets the gateway's own.
    if (status === 103) this.#answer.hint(headers)
  }

  onHead(head: AnswerHead): void {
    this.#judge(head.status)
    this.#quietSince = performance.now()
    const headers = readResponseHeaders(head.headers, head.status, this.plan.rewrite)
    addOwnHeaders(headers, this.#host.securityHeaders, this.plan.requestId)
    this.#answer.begin(head, headers, this.#host.stopping || this.#bodyIsOwed)
  }

  onData(chunk: Buffer): void {
    const blocked = this.#blockedSince !== never
    if (this.#answer.write(chunk)) {
      if (!blocked) this.#quietSince = performance.now()
      return
    }
    // Several chunks may come in what had been read before the connection was paused.
    if (blocked) return
    this.#quietSince = never
    this.#blockedSince = performance.now()
    const connection = this.#connection
    connection?.pause(this)
    this.response.once('drain', () => {
      this.#blockedSince = never
      if (this.#answered) return
      this.#quietSince = performance.now()
      connection?.resume(this)
    })
  }

  onEnd(): void {
    this.#answered = true
    this.#quietSince = never
    const bodyIsOwed = this.#bodyIsOwed
    this.#body?.stop()
    this.#blockedSince = performance.now()
    this.#answer.end(bodyIsOwed)
  }

  onUpgrade(head: AnswerHead, socket: Socket): void {
    this.upstream?.answered('success')
    this.#over = true
    this.#host.upgraded(this, socket, head.headers, () => this.#release())
  }

  onFailure(cause: NodeJS.ErrnoException, at: FailedAt): void {
    const { upstream, plan, attempts } = this
    const { repeatable } = this.#asked
    if (at === 'stale' && repeatable && upstream && this.#host.retries.attempts > 0) {
      // Neither counted nor paid for by the budget: there was no connection any more.
      this.#connection = upstream.pool.send(this.#asked, this, true)
      return
    }
    this.#release()
    const error = fromUpstreamError(cause, at)
    this.#blame(error, at)
    if (upstream && error.code === 'ERR_GATEWAY_UPSTREAM_UNREACHABLE') this.#unreachable.push(upstream)
    const attempt = { repeatable, plan, error, cause, attempts, tried: this.#tried, body: this.#body }
    if (!this.#answer.begun && mayRetry(attempt, this.#host.retries)) this.#attempt()
    else this.#fail(error)
  }

  /** The client has not sent the whole request. */
  get #bodyIsOwed(): boolean {
    return this.plan.hasBody && !this.request.complete
  }

  /** Ends the exchange from this side. */
  #stop(error: GatewayError): void {
    if (this.#over || this.#stopped) return
    this.#stopped = error
    if (this.#answered) {
      this.#answer.breakOff()
      return
    }
    this.#connection?.abort(this)
    this.#release()
    this.#blame(error, 'asked')
    this.#fail(error)
  }

  /** The client's side is over: its answer was written to the end, or its connection is gone. */
  #closed(): void {
    if (!this.#answered) {
      if (!this.response.writableFinished) this.#stop(clientGone)
      return
    }
    if (this.#over) return
    this.#over = true
    this.#unload()
    const outcome = this.response.writableFinished ? 'ok' : (this.#stopped?.code ?? 'aborted')
    this.#host.settled(this, outcome)
  }

  /** Records an answer. A caller can choose most statuses, also of 5xx; these two say that the upstream cannot serve. */
  #judge(status: number): void {
    const { upstream } = this
    if (!upstream) return
    if (status === 502 || status === 503) this.plan.group.failed(upstream)
    else upstream.answered(status < 500 ? 'success' : 'neither')
  }

  #blame(error: GatewayError, at: FailedAt): void {
    if (this.upstream && isUpstreamsFault(error, at, this.#body, this.upstream, this.#attemptedAt))
      this.plan.group.failed(this.upstream)
  }

  #fail(error: GatewayError): void {
    if (this.#over) return
    this.#over = true
    if (error === clientGone) {
      this.#host.settled(this, 'aborted')
      return
    }
    // An answer that has begun cannot be finished. Only a broken connection tells the client that it is not whole.
    if (this.#answer.begun) this.#answer.breakOff()
    else this.#host.refuse(this, error)
    this.#host.settled(this, error.code)
  }

  #release(): void {
    this.#quietSince = never
    this.#unload()
    this.#body?.stop()
  }

  #unload(): void {
    if (this.upstream) this.upstream.load[this.#kind] -= 1
  }
}

function unavailable(
  code: 'ERR_GATEWAY_OVERLOADED' | 'ERR_GATEWAY_NO_UPSTREAM',
  message: string,
): GatewayError {
  return new GatewayError(code, message, { retryAfter: 1_000 })
}

function silent(message: string, limit: number): GatewayError {
  const cause = new UpstreamFailure('SILENT', `The upstream has done nothing for more than ${limit} ms.`)
  return new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', message, { cause })
}

function addOwnHeaders(headers: string[], own: readonly string[], requestId: string): void {
  for (let index = 0; index < own.length; index += 2) {
    const name = own[index] as string
    if (!hasName(headers, name)) headers.push(name, own[index + 1] as string)
  }
  if (!hasName(headers, 'x-request-id')) headers.push('x-request-id', requestId)
}

function hasName(pairs: readonly string[], name: string): boolean {
  for (let index = 0; index < pairs.length; index += 2) {
    const candidate = pairs[index] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name) return true
  }
  return false
}
