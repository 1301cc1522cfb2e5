import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import type { AnswerHead } from '../http-client/answer-head.ts'
import type { UpstreamConnection, UpstreamHandler, UpstreamRequest } from '../http-client/connection.ts'
import { UpstreamFailure, type FailedAt } from '../http-client/upstream-failure.ts'
import type { LoadKind, Upstream } from '../upstream/upstream.ts'
import { ClientAnswer } from './client-answer.ts'
import type { ExchangeHost, ExchangePlan, ExchangeRecord } from './exchange-host.ts'
import { IdleWatch, unsentOn } from './idle-watch.ts'
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
  readonly #idle = new IdleWatch()
  /** How many bytes of the answer have come. */
  #received = 0
  /** The client has not taken what is there for it. */
  #blocked = false

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
    const body = this.#body
    if (headers !== 0 && !this.#answer.begun && now - (body?.endedAt ?? this.#askedAt) > headers)
      this.#stop(silent('The service did not answer in time.', headers))
    if (idle === 0) return
    const { socket } = this.response
    // What waits for an earlier answer of its connection, or for the rest of its request, does not stand still.
    if (!socket || (this.#answered && !this.response.writableEnded)) this.#idle.excuse(now)
    const received = this.#received + (body?.received ?? 0)
    const unsent = unsentOn(socket) + (body?.unsent ?? 0)
    if (this.#idle.idleFor(now, received, unsent) > idle) this.#stopIdle(idle)
  }

  /** Ends the exchange, which stands still, on account of the side that it waits for. */
  #stopIdle(idle: number): void {
    const waitsFor = this.#body?.waitsFor
    if (waitsFor === 'client')
      this.#stop(
        new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The request body stood still for too long.'),
      )
    else if (waitsFor === 'upstream') this.#stop(silent('The service has read nothing for too long.', idle))
    else if (this.#blocked)
      this.#stop(new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has read nothing for too long.'))
    // Until then it is the time limit for the head that counts.
    else if (this.#answer.begun) this.#stop(silent('The service did not answer in time.', idle))
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
    const headers = readResponseHeaders(head.headers, head.status, this.plan.rewrite)
    addOwnHeaders(headers, this.#host.securityHeaders, this.plan.requestId)
    this.#answer.begin(head, headers, this.#host.stopping || this.#bodyIsOwed)
  }

  onData(chunk: Buffer): void {
    this.#received += chunk.length
    // Several pieces may come in what had been read before the connection was paused.
    if (this.#answer.write(chunk) || this.#blocked) return
    this.#blocked = true
    const connection = this.#connection
    connection?.pause(this)
    this.response.once('drain', () => {
      if (this.#answered) return
      this.#blocked = false
      connection?.resume(this)
    })
  }

  onEnd(): void {
    this.#answered = this.#blocked = true
    const bodyIsOwed = this.#bodyIsOwed
    this.#body?.stop()
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
    this.#blame(error)
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
    this.#blame(error)
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
    // An answer whose connection was cut with bytes of the request unread need not have arrived.
    const arrived = this.response.writableFinished && !this.#bodyIsOwed
    const outcome = arrived ? 'ok' : (this.#stopped?.code ?? 'aborted')
    this.#host.settled(this, outcome)
  }

  /** Records an answer. A caller can choose most statuses, also of 5xx; these two say that the upstream cannot serve. */
  #judge(status: number): void {
    const { upstream } = this
    if (!upstream) return
    if (status === 502 || status === 503) this.plan.group.failed(upstream)
    else upstream.answered(status < 500 ? 'success' : 'neither')
  }

  #blame(error: GatewayError): void {
    if (this.upstream && isUpstreamsFault(error, this.#body, this.upstream, this.#attemptedAt))
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
