import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { endAfterBody } from '@quintet/core/http'
import type { Dispatcher } from 'undici'
import { breakOff } from './break-off.ts'
import { fromUpstreamError, GatewayError } from '../errors.ts'
import type { ExchangeHost, ExchangePlan, ExchangeRecord } from './exchange-host.ts'
import { RequestBody } from './request-body.ts'
import { readResponseHeaders } from './response-headers.ts'
import type { LoadKind, Upstream } from '../upstream/upstream.ts'

const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** How many early hints of one answer go on. */
const mostHints = 16

/** Up to how many bytes an answer is copied to be written at once. */
const smallAnswer = 16_384

const clientGone = new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has left.')

/** One request on its way through: to an upstream, perhaps to a second one, and the answer back. */
export class Exchange implements ExchangeRecord, Dispatcher.DispatchHandler {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly plan: ExchangePlan
  readonly startedAt: number = performance.now()
  attempts = 0
  upstream: Upstream | undefined
  readonly #host: ExchangeHost
  readonly #tried: Upstream[] = []
  readonly #unreachable: Upstream[] = []
  #controller: Dispatcher.DispatchController | undefined
  #body: RequestBody | undefined
  #responded = false
  /** Whether anything of the body was written. */
  #begun = false
  /** The upstream has ended its answer; the client may still be reading it. */
  #answered = false
  #over = false
  /** Why the exchange was ended from this side. */
  #stopped: GatewayError | undefined
  #blockedSince = Number.POSITIVE_INFINITY
  #attemptedAt = 0
  #hints = 0
  #wholeLength = Number.NaN
  /** The body of a small answer that came in one piece: written together with its head, in one system call. */
  #whole: string | undefined
  /** What the exchange counts as at its upstream. */
  readonly #kind: LoadKind

  constructor(request: IncomingMessage, response: ServerResponse, plan: ExchangePlan, host: ExchangeHost) {
    this.request = request
    this.response = response
    this.plan = plan
    this.#host = host
    this.#kind = plan.upgrade ? 'websockets' : 'requests'
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
    if (body && !this.#responded && headers !== 0 && now - body.endedAt > headers) {
      this.#stop(new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', 'The service did not answer in time.'))
    }
    if (idle === 0) return
    if (body && now - body.waitingSince > idle) {
      this.#stop(
        new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The request body stood still for too long.'),
      )
    } else if (body && now - body.blockedSince > idle) {
      this.#stop(
        new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', 'The service has read nothing for too long.'),
      )
    } else if (now - this.#blockedSince > idle) {
      this.#stop(new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has read nothing for too long.'))
    }
  }

  #attempt(): void {
    const { plan } = this
    const full = plan.upgrade
      ? plan.group.load('websockets') >= plan.route.maxWebSockets
      : plan.group.load('requests') >= plan.route.maxConcurrentRequests
    if (full) {
      const what = plan.upgrade ? 'WebSockets open' : 'requests in progress'
      this.#fail(
        new GatewayError('ERR_GATEWAY_OVERLOADED', `There are too many ${what}.`, { retryAfter: 1_000 }),
      )
      return
    }
    const upstream = plan.group.choose(
      plan.affinityKey,
      { tried: this.#tried, unreachable: this.#unreachable },
      this.#kind,
    )
    if (!upstream) {
      this.#fail(
        new GatewayError('ERR_GATEWAY_NO_UPSTREAM', 'The service is not available.', { retryAfter: 1_000 }),
      )
      return
    }
    this.attempts += 1
    this.upstream = upstream
    this.#tried.push(upstream)
    upstream.load[this.#kind] += 1
    this.#attemptedAt = performance.now()
    this.#controller = undefined
    this.#body = plan.hasBody ? this.#openBody() : undefined
    const options: Dispatcher.DispatchOptions & { readonly servername: string | null } = {
      path: plan.path,
      method: this.request.method ?? 'GET',
      headers: plan.headers,
      body: this.#body ?? null,
      upgrade: plan.upgrade ? 'websocket' : null,
      // With a body the time begins when that was sent, see `checkIdle`.
      headersTimeout: this.#body ? 0 : plan.route.timeouts.headers,
      bodyTimeout: plan.route.timeouts.idle,
      // The name in the TLS handshake is the upstream's own, whatever the client's Host header says.
      servername: upstream.serverName,
    }
    upstream.pool.dispatch(options, this)
  }

  #openBody(): RequestBody {
    return new RequestBody(this.request, this.plan.route.maxRequestSize, {
      onStart: () => {
        if (this.plan.expectsContinue) this.response.writeContinue()
      },
      onTooLarge: () => {
        this.#stop(
          new GatewayError(
            'ERR_GATEWAY_BODY_TOO_LARGE',
            `The request body is larger than ${this.plan.route.maxRequestSize} bytes.`,
          ),
        )
      },
    })
  }

  /** Ends the exchange from this side; whatever it was waiting for is aborted. */
  #stop(error: GatewayError): void {
    if (this.#over || this.#stopped) return
    this.#stopped = error
    if (this.#answered) {
      breakOff(this.response)
      return
    }
    // Without a controller the attempt still waits for its connection, and is aborted when it gets one.
    if (this.#controller) this.#controller.abort(error)
    else this.#fail(error)
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

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#stopped) controller.abort(this.#stopped)
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    socket: Duplex,
  ): void {
    const { upstream } = this
    upstream?.answered('success')
    this.#over = true
    this.#host.upgraded(this, socket, rawHeaders(controller), () => this.#release())
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    message?: string,
  ): void {
    const { response } = this
    if (status < 200) {
      if (status === 103) this.#hint(headers['link'])
      return
    }
    this.#judge(status)
    const forward = readResponseHeaders(rawHeaders(controller), status, this.plan.rewrite)
    this.#addOwnHeaders(forward)
    if (this.#host.stopping || (this.plan.hasBody && !this.request.complete)) response.shouldKeepAlive = false
    this.#responded = true
    response.writeHead(status, reasonPhrase(status, message), forward)
    this.#wholeLength = Number(headers['content-length'] ?? Number.NaN)
    // A body that came with the head is written together with it.
    process.nextTick(flushHead, this)
  }

  /** Sends the head of an answer whose body has not begun. */
  flushHead(): void {
    if (!this.#begun && !this.#answered && !this.#over && this.#whole === undefined)
      this.response.flushHeaders()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (chunk.length === this.#wholeLength && chunk.length <= smallAnswer) {
      this.#whole = chunk.toString('latin1')
      return
    }
    this.#begun = true
    if (this.response.write(chunk)) return
    this.#blockedSince = performance.now()
    controller.pause()
    this.response.once('drain', () => {
      this.#blockedSince = Number.POSITIVE_INFINITY
      controller.resume()
    })
  }

  onResponseEnd(): void {
    this.#answered = true
    this.#body?.destroy()
    this.#blockedSince = performance.now()
    if (this.plan.hasBody && !this.request.complete && this.#whole !== undefined)
      this.response.write(this.#whole, 'latin1')
    if (this.plan.hasBody && !this.request.complete) endAfterBody(this.request, this.response)
    else if (this.#whole === undefined) this.response.end()
    else this.response.end(this.#whole, 'latin1')
  }

  onResponseError(_controller: unknown, cause: Error): void {
    if (this.#answered) return
    this.#release()
    if (this.#over) return
    if (this.#stopped) {
      if (this.upstream && this.#isUpstreamsFault(this.#stopped)) this.plan.group.failed(this.upstream)
      this.#fail(this.#stopped)
      return
    }
    const error = fromUpstreamError(cause)
    if (this.upstream && this.#isUpstreamsFault(error)) this.plan.group.failed(this.upstream)
    if (this.#mayRetry(error, cause)) this.#attempt()
    else this.#fail(error)
  }

  /** Records an answer. A caller can choose most statuses, also of 5xx; these two say that the upstream cannot serve. */
  #judge(status: number): void {
    const { upstream } = this
    if (!upstream) return
    if (status === 502 || status === 503) this.plan.group.failed(upstream)
    else upstream.answered(status < 500 ? 'success' : 'neither')
  }

  /** Whether a failure counts against the upstream. What a caller can bring about does not. */
  #isUpstreamsFault(error: GatewayError): boolean {
    switch (error.code) {
      case 'ERR_GATEWAY_UPSTREAM_UNREACHABLE':
        return true
      case 'ERR_GATEWAY_UPSTREAM_FAILED':
        // It may break the connection because it does not want the rest of the body.
        return !this.#body?.started || this.#body.endedAt < performance.now()
      case 'ERR_GATEWAY_UPSTREAM_TIMEOUT':
        // A request that takes long may be its caller's choice, unless the upstream was silent meanwhile.
        return (this.upstream?.answeredAt ?? 0) < this.#attemptedAt
      default:
        return false
    }
  }

  /** Sends an upstream's 103 on, while nothing else is being written on the connection (RFC 8297). */
  #hint(link: string | string[] | undefined): void {
    const { socket } = this.response
    if (link === undefined || !socket || this.request.httpVersion !== '1.1') return
    // A hint is worth nothing to a client that does not read it, and must not be held for it.
    if (socket.writableNeedDrain || this.#hints >= mostHints) return
    this.#hints += 1
    const lines = [link].flat().map((value) => `link: ${value}\r\n`)
    socket.write(`HTTP/1.1 103 Early Hints\r\n${lines.join('')}\r\n`, 'latin1')
  }

  #mayRetry(error: GatewayError, cause: Error & { readonly code?: string }): boolean {
    const { retries } = this.#host
    if (this.#responded || this.#stopped || retries.attempts === 0) return false
    const untried = this.plan.group.upstreams.some((upstream) => {
      return upstream.weight > 0 && !this.#tried.includes(upstream)
    })
    if (this.upstream && error.code === 'ERR_GATEWAY_UPSTREAM_UNREACHABLE')
      this.#unreachable.push(this.upstream)
    const unsent = this.#body?.started !== true && untried
    // Refused at once and never seen: asking each of the others once loads nobody twice.
    if (unsent && error.code === 'ERR_GATEWAY_UPSTREAM_UNREACHABLE') return true
    if (this.attempts > retries.attempts) return false
    const repeatable =
      !this.plan.hasBody &&
      !this.plan.upgrade &&
      idempotent.has(this.request.method ?? '') &&
      error.code === 'ERR_GATEWAY_UPSTREAM_FAILED'
    const unseen = unsent && cause.code === 'UND_ERR_CONNECT_TIMEOUT'
    return (repeatable || unseen) && retries.budget.withdraw()
  }

  #fail(error: GatewayError): void {
    if (this.#over) return
    this.#over = true
    if (error === clientGone) {
      this.#host.settled(this, 'aborted')
    } else if (this.#responded) {
      // The answer cannot be finished. Only a broken connection tells the client that it is not whole.
      breakOff(this.response)
      this.#host.settled(this, error.code)
    } else {
      this.#host.refuse(this, error)
      this.#host.settled(this, error.code)
    }
  }

  #release(): void {
    this.#unload()
    this.#body?.destroy()
  }

  #unload(): void {
    if (this.upstream) this.upstream.load[this.#kind] -= 1
  }

  #addOwnHeaders(forward: string[]): void {
    const own = this.#host.securityHeaders
    for (let index = 0; index < own.length; index += 2) {
      const name = own[index] as string
      if (!hasName(forward, name)) forward.push(name, own[index + 1] as string)
    }
    if (!hasName(forward, 'x-request-id')) forward.push('x-request-id', this.plan.requestId)
  }
}

function flushHead(exchange: Exchange): void {
  exchange.flushHead()
}

/** The phrase of the status line as the upstream wrote it, or nothing where Node could not write it. */
function reasonPhrase(status: number, given: string | undefined): string {
  return given !== undefined && /^[\t\x20-\x7e]*$/.test(given) ? given : (STATUS_CODES[status] ?? '')
}

function hasName(pairs: readonly string[], name: string): boolean {
  for (let index = 0; index < pairs.length; index += 2) {
    const candidate = pairs[index] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name) return true
  }
  return false
}

/** undici's HTTP/1 client gives the headers as flat pairs. */
function rawHeaders(controller: Dispatcher.DispatchController): readonly (Buffer | string)[] {
  const raw = controller.rawHeaders
  return Array.isArray(raw) ? raw : []
}
