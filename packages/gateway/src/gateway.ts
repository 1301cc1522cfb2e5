import { randomUUID, timingSafeEqual } from 'node:crypto'
import { createServer, ServerResponse, type IncomingMessage } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock, type StopReason } from '@quintet/core'
import { affinityKey, tenantHint } from './affinity.ts'
import { answerClientError } from './client-error.ts'
import { trackConnections } from './connections.ts'
import { GatewayError } from './errors.ts'
import { Exchange, type ExchangeHost } from './exchange.ts'
import { findOrigin, writeForwarded, type Origin } from './forwarded.ts'
import { listen } from './listen.ts'
import { watchMaintenance } from './maintenance.ts'
import { resolveGatewayOptions, type GatewayOptions } from './options.ts'
import { sendProblem } from './problem.ts'
import { takeOne } from './rate-limit.ts'
import { readRequestHeaders } from './request-headers.ts'
import { parseRequestTarget } from './request-target.ts'
import { createRetryBudget } from './retry-budget.ts'
import type { ResolvedRoute } from './route-options.ts'
import { createRouteTable } from './route-table.ts'
import { readStatus, type GatewayStatus } from './status.ts'
import { openTunnel, type Tunnel } from './tunnel.ts'
import { createUpstreamGroup, type UpstreamGroup } from './upstream-group.ts'
import { createUpstream } from './upstream.ts'
import { createWaiter } from './waiter.ts'
import { writeUpgradeHead } from './upgrade-head.ts'

/** A running front door. */
export interface Gateway extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string
  /** The upstreams with their load and record, and the maintenance flags; for operators. */
  status(): GatewayStatus
  /**
   * Gives an upstream another share of its route's requests; 0 lets what is in progress finish and sends nothing new.
   *
   * @throws TypeError when the route has no such upstream.
   */
  setWeight(route: string, upstream: string, weight: number): void
  /**
   * Accepts nothing new, tells WebSocket clients, and resolves when all that was in progress is done or the
   * signal aborts.
   */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
  /** Lets go of everything at once. Idempotent. */
  close(): Promise<void>
}

interface LiveRoute extends ResolvedRoute {
  readonly group: UpstreamGroup
}

const maintenanceTokenHeader = 'x-maintenance-token'
const requestIdPattern = /^[\w.:-]{1,128}$/
/** Every this many WebSockets are told together when the gateway stops, so that not all return at once. */
const farewellBatch = 200
const farewellPause = 25
/** How long idle connections are kept when the gateway stops, for requests that have already been sent. */
const requestsOnTheWay = 50
const stopListening = NetServer.prototype.close

/**
 * Starts a gateway. It listens when the promise resolves.
 *
 * @throws TypeError for options that are unknown or out of range.
 * @throws GatewayError `ERR_GATEWAY_LISTEN_FAILED`
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const settings = resolveGatewayOptions(options)
  const { logger, timeouts, onSettled } = settings
  const clock = systemClock
  settings.signal?.throwIfAborted()

  const routes: LiveRoute[] = settings.routes.map((route) => ({
    ...route,
    group: createUpstreamGroup(
      route.upstreams.map((upstream) =>
        createUpstream(upstream, timeouts, settings.maxHeaderSize, settings.ejection, clock),
      ),
      settings.ejection?.maxEjectedPercent ?? 0,
    ),
  }))
  const table = createRouteTable(routes)
  const exchanges = new Set<Exchange>()
  const tunnels = new Set<Tunnel>()
  const waiter = createWaiter(() => exchanges.size + tunnels.size === 0)
  const allowToken = settings.maintenance?.allow.token
  let draining = false

  const maintenance =
    settings.maintenance &&
    (await watchMaintenance(
      settings.maintenance,
      routes.map((route) => route.name),
      logger,
      clock,
    ))

  const host: ExchangeHost = {
    retries: {
      attempts: settings.retries?.attempts ?? 0,
      budget: createRetryBudget(settings.retries?.budget ?? 0),
    },
    securityHeaders: settings.securityHeaders,
    get draining() {
      return draining
    },
    refuse(exchange, error) {
      if (error.cause) {
        logger.warn(
          {
            err: error.cause,
            code: error.code,
            requestId: exchange.plan.requestId,
            upstream: exchange.upstream?.id,
          },
          'An upstream failed.',
        )
      }
      refuse(exchange.request, exchange.response, error, exchange.plan.requestId)
    },
    upgraded(exchange, upstreamSocket, rawHeaders, released) {
      const client = exchange.request.socket
      exchange.response.detachSocket(client)
      const protocol = writeUpgradeHead(client, rawHeaders, exchange.plan.requestId)
      const tunnel = openTunnel(client, upstreamSocket, protocol, () => {
        tunnels.delete(tunnel)
        released()
        settle(exchange, 101, 'ok')
      })
      tunnels.add(tunnel)
      if (draining) tunnel.leave('shutdown', reconnectAfter())
    },
    settled: (exchange, outcome) =>
      settle(exchange, exchange.response.headersSent ? exchange.response.statusCode : 0, outcome),
  }

  function settle(exchange: Exchange, status: number, outcome: string): void {
    exchanges.delete(exchange)
    waiter.check()
    onSettled({
      requestId: exchange.plan.requestId,
      method: exchange.request.method ?? '',
      route: exchange.plan.route.name,
      upstream: exchange.upstream?.id,
      status,
      outcome,
      attempts: exchange.attempts,
      durationMs: performance.now() - exchange.startedAt,
    })
  }

  function refuse(
    request: IncomingMessage,
    response: ServerResponse,
    error: GatewayError,
    requestId: string,
  ): void {
    sendProblem(request, response, error, {
      requestId,
      headers: settings.securityHeaders,
      close:
        draining || error.code === 'ERR_GATEWAY_BAD_REQUEST' || error.code === 'ERR_GATEWAY_NOT_IMPLEMENTED',
      bodyFollows: request.headers.expect === undefined,
    })
  }

  /** Decides over one request, and sends it on its way. */
  async function handle(request: IncomingMessage, response: ServerResponse, upgrade: boolean): Promise<void> {
    const startedAt = performance.now()
    const claimedId = request.headers['x-request-id']
    const requestId =
      typeof claimedId === 'string' && requestIdPattern.test(claimedId) ? claimedId : randomUUID()
    let route: LiveRoute | undefined
    try {
      const target = parseRequestTarget(request.url ?? '')
      if (answerProbe(target.path, request, response)) return
      const headers = readRequestHeaders(
        request.rawHeaders,
        allowToken === undefined ? undefined : maintenanceTokenHeader,
      )
      if (upgrade && headers.hasBody)
        throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'A WebSocket handshake has no body.')
      const match = table.match(target.path)
      if (!match) throw new GatewayError('ERR_GATEWAY_NO_ROUTE', 'Nothing is served under this path.')
      if (match.path.startsWith('//'))
        throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The path has an empty segment after its prefix.')
      route = match.route
      const origin = findOrigin(
        request.socket.remoteAddress ?? '',
        false,
        target.authority ?? headers.host,
        request.headers,
        settings.trustedProxies,
      )
      refuseInMaintenance(route, request, origin)
      if ((headers.contentLength ?? 0) > route.maxRequestSize) {
        throw new GatewayError(
          'ERR_GATEWAY_BODY_TOO_LARGE',
          `The request body is larger than ${route.maxRequestSize} bytes.`,
        )
      }
      if (route.rateLimit) {
        const { limiter, by, onFailure } = route.rateLimit
        const key = affinityKey(by, request, origin.address) ?? origin.address
        await takeOne(limiter, `${route.name}:${key}`, onFailure)
        if (response.destroyed) return
      }
      const forward = headers.forward
      forward.push(
        'host',
        origin.host === '' ? hostOf(route) : (target.authority ?? headers.host),
        'via',
        '1.1 quintet',
        'x-request-id',
        requestId,
      )
      writeForwarded(forward, origin)
      if (headers.contentLength !== undefined && headers.hasBody)
        forward.push('content-length', String(headers.contentLength))
      const exchange = new Exchange(
        request,
        response,
        {
          route,
          group: route.group,
          affinityKey: route.affinity && affinityKey(route.affinity, request, origin.address),
          path: match.path + target.query,
          headers: forward,
          hasBody: headers.hasBody,
          requestId,
          expectsContinue: request.headers.expect !== undefined,
          upgrade,
        },
        host,
      )
      exchanges.add(exchange)
      exchange.start()
    } catch (thrown) {
      const error =
        thrown instanceof GatewayError
          ? thrown
          : new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request cannot be handled.', { cause: thrown })
      if (error !== thrown) logger.error({ err: thrown, requestId }, 'A request could not be handled.')
      refuse(request, response, error, requestId)
      onSettled({
        requestId,
        method: request.method ?? '',
        route: route?.name,
        upstream: undefined,
        status: response.statusCode,
        outcome: error.code,
        attempts: 0,
        durationMs: performance.now() - startedAt,
      })
    }
  }

  function answerProbe(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    if ((path !== '/livez' && path !== '/readyz') || (request.method !== 'GET' && request.method !== 'HEAD'))
      return false
    const pass = path === '/livez' || !draining
    const body = JSON.stringify({ status: pass ? 'pass' : 'fail' })
    if (draining) response.shouldKeepAlive = false
    response.writeHead(pass ? 200 : 503, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
    })
    response.end(body)
    return true
  }

  function refuseInMaintenance(route: LiveRoute, request: IncomingMessage, origin: Origin): void {
    const notice = maintenance?.notice(route.name, () => tenantHint(request))
    if (notice === undefined || !settings.maintenance || isOperator(request, origin)) return
    throw new GatewayError(
      'ERR_GATEWAY_MAINTENANCE',
      notice === '' ? 'The service is down for maintenance. Try again later.' : notice,
      {
        retryAfter: settings.maintenance.retryAfter,
      },
    )
  }

  function isOperator(request: IncomingMessage, origin: Origin): boolean {
    if (settings.maintenance?.allow.addresses.has(origin.address)) return true
    const token = request.headers[maintenanceTokenHeader]
    if (allowToken === undefined || typeof token !== 'string') return false
    const given = Buffer.from(token)
    const expected = Buffer.from(allowToken)
    return given.length === expected.length && timingSafeEqual(given, expected)
  }

  const server = createServer({
    maxHeaderSize: settings.maxHeaderSize,
    headersTimeout: timeouts.requestHeaders,
    // The whole request may take as long as it likes, as long as it moves: see the idle timeout.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.keepAlive,
    connectionsCheckingInterval: Math.max(50, Math.min(2_000, timeouts.requestHeaders / 2)),
    insecureHTTPParser: false,
    noDelay: true,
    shouldUpgradeCallback: (request) => isWebSocketFor(request),
  })
  // Node drops headers past its count without a word. The size limit is what bounds them here.
  server.maxHeadersCount = 0
  server.maxConnections = settings.maxConnections
  const connections = trackConnections(server)

  function isWebSocketFor(request: IncomingMessage): boolean {
    if (request.headers.upgrade?.toLowerCase() !== 'websocket' || request.method !== 'GET') return false
    try {
      return table.match(parseRequestTarget(request.url ?? '').path)?.route.websocket === true
    } catch {
      return false
    }
  }

  function accept(request: IncomingMessage, response: ServerResponse): void {
    const done = connections.busy(request.socket)
    response.once('close', done)
    void handle(request, response, false)
  }
  server.on('request', accept)
  server.on('checkContinue', accept)
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const client = socket as Socket
    connections.busy(client)
    client.setTimeout(0)
    client.setKeepAlive(true, 30_000)
    client.on('error', () => client.destroy())
    if (head.length > 0) client.unshift(head)
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(client)
    client.on('drain', () => response.emit('drain'))
    response.on('finish', () => client.destroySoon())
    void handle(request, response, true)
  })
  server.on('connect', (_request, socket: Duplex) => {
    answerClientError(new Error('CONNECT is not supported.'), socket, randomUUID())
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // A client that leaves amid its body, or breaks it while it is being answered: there is nobody to tell.
    if (error.code === 'HPE_INVALID_EOF_STATE' || isBeingAnswered(socket)) {
      socket.destroy()
      return
    }
    const requestId = randomUUID()
    const reason = answerClientError(error, socket, requestId)
    if (reason)
      onSettled({
        requestId,
        method: '',
        route: undefined,
        upstream: undefined,
        status: reason.status,
        outcome: reason.code,
        attempts: 0,
        durationMs: 0,
      })
  })

  const idle = Math.min(...routes.map((route) => route.timeouts.idle || Number.POSITIVE_INFINITY), 60_000)
  const sweep = setInterval(
    () => {
      const now = performance.now()
      for (const exchange of exchanges) exchange.checkIdle(now)
    },
    Math.max(20, Math.min(1_000, idle / 4)),
  )

  function isBeingAnswered(socket: Duplex): boolean {
    for (const { request, response } of exchanges) {
      if (request.socket === socket && response.headersSent) return true
    }
    return false
  }

  async function letGo(): Promise<void> {
    clearInterval(sweep)
    await maintenance?.close()
    await Promise.all(
      routes.flatMap((route) => route.group.upstreams.map((upstream) => upstream.pool.destroy())),
    )
  }

  let url: string
  try {
    url = await listen(server, settings.host, settings.port)
    settings.signal?.throwIfAborted()
  } catch (error) {
    server.close()
    await letGo()
    throw error
  }
  server.on('error', (error) => logger.error({ err: error }, 'The gateway cannot accept connections.'))
  logger.info({ url, routes: routes.map((route) => route.path) }, 'The gateway listens.')

  let closing: Promise<void> | undefined
  function close(): Promise<void> {
    closing ??= (async () => {
      draining = true
      settings.signal?.removeEventListener('abort', onAbort)
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const tunnel of tunnels) tunnel.destroy()
      connections.destroyAll()
      await letGo()
      await closed
    })()
    return closing
  }
  const onAbort = (): void => void close()
  settings.signal?.addEventListener('abort', onAbort, { once: true })

  return {
    url,
    status: () =>
      readStatus(routes, maintenance, {
        draining,
        connections: connections.size,
        exchanges: exchanges.size,
        tunnels: tunnels.size,
      }),
    setWeight(routeName, upstreamUrl, weight) {
      const upstream = routes
        .find((route) => route.name === routeName)
        ?.group.upstreams.find((candidate) => candidate.id === upstreamUrl)
      if (!upstream)
        throw new TypeError(
          `The route ${JSON.stringify(routeName)} has no upstream ${JSON.stringify(upstreamUrl)}.`,
        )
      if (!(Number.isFinite(weight) && weight >= 0))
        throw new TypeError(`${JSON.stringify(weight)} is not a weight: give a number from 0.`)
      upstream.weight = weight
    },
    async drain(reason, signal) {
      draining = true
      // Not `server.close()`, which also cuts the connections whose next request is already on the way.
      if (server.listening) stopListening.call(server)
      let told = 0
      for (const tunnel of Array.from(tunnels)) {
        tunnel.leave(reason, reconnectAfter())
        if (++told % farewellBatch === 0) await delay(farewellPause)
      }
      if (connections.size > 0) await delay(requestsOnTheWay)
      connections.closeIdle()
      await waiter.wait(signal)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function hostOf(route: LiveRoute): string {
  return new URL(route.upstreams[0]?.url ?? 'http://localhost').host
}

/** Between one and five seconds, so that the clients of one gateway do not return together. */
function reconnectAfter(): number {
  return 1_000 + Math.floor(Math.random() * 4_000)
}
