import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { StopReason } from '@quintet/core'
import { requestIdOf, statusOf } from '@quintet/core/http'
import { systemClock } from '@quintet/core/kit'
import { createAdmission } from './admission/admission.ts'
import { parseRequestTarget } from './admission/request-target.ts'
import { breakOff } from './exchange/break-off.ts'
import { GatewayError } from './errors.ts'
import { crossOriginHeaders, passesPreflight } from './exchange/cross-origin.ts'
import type { ExchangeHost, ExchangeRecord } from './exchange/exchange-host.ts'
import { Exchange } from './exchange/exchange.ts'
import { createFrontServer } from './listener/front-server.ts'
import { listenAt } from './listener/listen.ts'
import { closeRoutes, openRoutes, setWeight, type LiveRoute } from './upstream/open-routes.ts'
import { watchMaintenance } from './maintenance/watch-maintenance.ts'
import { resolveGatewayOptions, type GatewayOptions } from './options/gateway-options.ts'
import { answerProbe } from './listener/probe.ts'
import { sendProblem } from './exchange/send-problem.ts'
import { watchReadiness } from './upstream/readiness-probes.ts'
import { createRetryBudget } from './exchange/retry-budget.ts'
import { readStatus, type GatewayStatus } from './traffic/gateway-status.ts'
import { createTunnels } from './websocket/tunnels.ts'
import { writeUpgradeHead } from './websocket/upgrade-head.ts'
import { statuses } from './options/statuses.ts'
import { createSettledReport, logFailure } from './traffic/settled-report.ts'
import { createWaiter } from './traffic/idle-waiter.ts'

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
  /** Is not ready any more and keeps no connection, but goes on serving: balancers in front find out before it drains. */
  announceStop(): void
  /**
   * Accepts nothing new, tells WebSocket clients, and resolves when all that was in progress is done or the
   * signal aborts.
   */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
  /** Releases everything at once. Idempotent. */
  close(): Promise<void>
}

/**
 * How long idle connections are kept when the gateway stops: a request that is already on its way is answered, and
 * told that its connection ends.
 */
const idleGrace = 500
const stopListening = NetServer.prototype.close

/**
 * Starts a gateway. It listens when the promise resolves.
 *
 * @throws TypeError for options that are unknown or out of range.
 * @throws GatewayError `ERR_GATEWAY_LISTEN_FAILED`
 *
 * @example
 * const gateway = await createGateway({
 *   port: 8080,
 *   routes: [{ name: 'media', path: '/api/media/', upstreams: ['http://127.0.0.1:3002'] }],
 * })
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const settings = resolveGatewayOptions(options)
  const { logger } = settings
  settings.signal?.throwIfAborted()

  const routes = openRoutes(settings, systemClock)
  const names = routes.map((route) => route.name)
  const maintenance =
    settings.maintenance && (await watchMaintenance(settings.maintenance, names, logger, systemClock))
  const admission = createAdmission(settings, routes, maintenance)
  const exchanges = new Map<ServerResponse, Exchange>()
  /** How the client's socket is had once a handshake has been accepted. */
  const takeSockets = new WeakMap<ServerResponse, () => Socket>()
  /** Requests of which no more can be read. */
  const broken = new WeakSet<IncomingMessage>()
  const tunnels = createTunnels()
  const report = createSettledReport(settings.onSettled, logger)
  /** How many requests wait for their rate limit. */
  let counting = 0
  const waiter = createWaiter(() => exchanges.size + tunnels.size === 0 && !connections.busy)
  /** Told to stop soon: not ready any more, and no connection is kept. */
  let stopping = false
  let draining = false

  const host: ExchangeHost = {
    retries: {
      attempts: settings.retries?.attempts ?? 0,
      budget: createRetryBudget(settings.retries?.budget ?? 0),
    },
    securityHeaders: settings.securityHeaders,
    get stopping() {
      return stopping
    },
    refuse({ request, response, plan, upstream }, error) {
      if (error.cause) {
        const fields = {
          err: error.cause,
          code: error.code,
          requestId: plan.requestId,
          upstream: upstream?.id,
        }
        if (error.code === 'ERR_GATEWAY_OVERLOADED')
          logger.error(fields, 'the gateway has no room for another connection')
        else logger.warn(fields, 'an upstream failed')
      }
      refuse(request, response, error, plan.requestId)
    },
    upgraded(exchange, upstreamSocket, rawHeaders, released) {
      const client = takeSockets.get(exchange.response)?.()
      if (!client) {
        upstreamSocket.destroy()
        return
      }
      const protocol = writeUpgradeHead(client, rawHeaders, exchange.plan)
      const leave = draining ? 'shutdown' : isClosed(exchange) ? 'maintenance' : undefined
      tunnels.open({ client, upstream: upstreamSocket, protocol }, exchange, leave, () => {
        released()
        settle(exchange, 101, 'ok')
      })
      exchanges.delete(exchange.response)
    },
    settled(exchange, outcome) {
      settle(exchange, exchange.response.headersSent ? exchange.response.statusCode : 0, outcome)
    },
  }

  /** Whether maintenance has closed what a handshake asked for. */
  function isClosed({ request, plan }: ExchangeRecord): boolean {
    return admission.notice(request, plan.route) !== undefined
  }

  function settle(exchange: ExchangeRecord, status: number, outcome: string): void {
    exchanges.delete(exchange.response)
    waiter.check()
    const { plan, request, upstream, attempts, startedAt } = exchange
    report({
      requestId: plan.requestId,
      method: request.method ?? '',
      route: plan.route.name,
      upstream: upstream?.id,
      status,
      outcome,
      attempts,
      startedAt,
    })
  }

  function refuse(
    request: IncomingMessage,
    response: ServerResponse,
    error: GatewayError,
    requestId: string,
  ): void {
    const crossOrigin = crossOriginHeaders(settings.cors, request)
    if (
      error.code !== 'ERR_GATEWAY_BAD_REQUEST' &&
      passesPreflight(settings.cors, request) &&
      !response.headersSent
    ) {
      response.writeHead(204, [...settings.securityHeaders, 'x-request-id', requestId, ...crossOrigin])
      response.end()
      return
    }
    sendProblem(request, response, error, {
      requestId,
      headers: [...settings.securityHeaders, ...crossOrigin],
      close:
        stopping || error.code === 'ERR_GATEWAY_BAD_REQUEST' || error.code === 'ERR_GATEWAY_NOT_IMPLEMENTED',
      bodyFollows: request.headers.expect === undefined && !broken.has(request),
    })
  }

  /** Decides over one request, and sends it on its way. */
  async function handle(
    request: IncomingMessage,
    response: ServerResponse,
    takeSocket: (() => Socket) | undefined,
  ): Promise<void> {
    const startedAt = performance.now()
    const requestId = requestIdOf(request.headers['x-request-id'])
    let route: LiveRoute | undefined
    if (takeSocket) takeSockets.set(response, takeSocket)
    try {
      const target = parseRequestTarget(request.url ?? '')
      if (answerProbe(request, response, target.path, stopping)) return
      const admitted = admission.admit(request, target, requestId, takeSocket !== undefined)
      route = admitted.route
      const counted = admission.count(request, admitted)
      if (counted) {
        counting += 1
        await counted.finally(() => (counting -= 1))
        if (response.destroyed) throw clientGone
        if (broken.has(request))
          throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request body is malformed.')
      }
      const exchange = new Exchange(request, response, admitted.plan, host)
      exchanges.set(response, exchange)
      exchange.start()
    } catch (thrown) {
      const error = toGatewayError(thrown)
      const gone = error === clientGone
      if (error !== thrown) logger.error({ err: thrown, requestId }, 'a request could not be handled')
      if (!gone) refuse(request, response, error, requestId)
      report({
        requestId,
        method: request.method ?? '',
        route: route?.name,
        upstream: undefined,
        status: gone ? 0 : response.statusCode,
        outcome: gone ? 'aborted' : error.code,
        attempts: 0,
        startedAt,
      })
    }
  }

  const { server, connections } = createFrontServer(settings, {
    isWebSocket: (request) => admission.isWebSocket(request),
    onRequest(request, response, takeSocket) {
      handle(request, response, takeSocket).catch((error: unknown) => {
        response.destroy()
        logFailure(logger, error, {}, 'a request could not be answered')
      })
    },
    onBrokenBody({ request, response }, reason) {
      broken.add(request)
      exchanges.get(response)?.breakOff(reason)
      if (!reason) breakOff(response)
    },
    onOver: () => waiter.check(),
    onMalformed(requestId, error) {
      report({
        requestId,
        method: '',
        route: undefined,
        upstream: undefined,
        status: statusOf(error, statuses),
        outcome: error.code,
        attempts: 0,
        startedAt: performance.now(),
      })
    },
  })

  maintenance?.onChange(() => void tunnels.goAway('maintenance', isClosed))
  const probes = watchReadiness(routes, settings.probes, logger)
  const limits = [settings, ...routes].flatMap(({ timeouts: { headers, idle } }) => [headers, idle])
  const shortest = Math.min(...limits.filter((limit) => limit > 0))
  const sweep = setInterval(
    () => {
      const now = performance.now()
      for (const exchange of exchanges.values()) exchange.checkIdle(now)
      connections.cutUnread(now, settings.timeouts.idle, (response) => exchanges.has(response))
    },
    Math.max(20, Math.min(1_000, shortest / 4)),
  )

  async function release(): Promise<void> {
    clearInterval(sweep)
    probes.stop()
    await maintenance?.close()
    await closeRoutes(routes)
  }

  let url: string
  try {
    url = await listenAt(server, settings)
    server.on('error', (error) => logger.error({ err: error }, 'the gateway cannot accept connections'))
    settings.signal?.throwIfAborted()
    logger.info({ url, routes: routes.map((route) => route.path) }, 'the gateway listens')
  } catch (error) {
    server.close()
    connections.destroyAll()
    await release()
    throw error
  }

  let closing: Promise<void> | undefined
  function close(): Promise<void> {
    closing ??= (async () => {
      stopping = draining = true
      settings.signal?.removeEventListener('abort', onAbort)
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      tunnels.destroyAll()
      connections.destroyAll()
      await release()
      await closed
    })()
    return closing
  }
  const onAbort = (): void => void close()
  settings.signal?.addEventListener('abort', onAbort, { once: true })

  async function drain(reason: StopReason, signal: AbortSignal): Promise<void> {
    stopping = draining = true
    // Not `server.close()`, which also cuts the connections whose next request is already on the way.
    if (server.listening) stopListening.call(server)
    await tunnels.goAway(reason)
    if (connections.size > 0) await Promise.race([delay(idleGrace), once(server, 'close')])
    connections.closeIdle()
    await waiter.wait(signal)
  }

  return {
    url,
    status() {
      const counts = {
        connections: connections.size,
        exchanges: exchanges.size + counting,
        tunnels: tunnels.size,
      }
      return readStatus(routes, maintenance, { draining, ...counts })
    },
    setWeight: (route, upstream, weight) => setWeight(routes, route, upstream, weight),
    announceStop() {
      stopping = true
    },
    drain,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** What a request ends with whose client has left before it was sent on. */
const clientGone = new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has left.')

function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError('ERR_GATEWAY_INTERNAL', 'Something failed on our side.', { cause: thrown })
}
