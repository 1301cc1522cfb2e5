import type { StopReason } from '@quintet/core'
import { statusOf } from '@quintet/core/http'
import { systemClock } from '@quintet/core/kit'
import { createAdmission } from '../admission/admission.ts'
import { breakOff } from '../exchange/break-off.ts'
import type { ExchangeRecord } from '../exchange/exchange-host.ts'
import { createExchanges } from '../listener/exchanges.ts'
import { createRefusals } from '../exchange/refusals.ts'
import { createFrontServer } from '../listener/front-server.ts'
import { listenAt } from '../listener/listen.ts'
import { createRequestHandler } from '../listener/request-handler.ts'
import { watchMaintenance } from '../maintenance/watch-maintenance.ts'
import {
  resolveGatewayOptions,
  type GatewayOptions,
  type ResolvedGatewayOptions,
} from '../options/gateway-options.ts'
import { statuses } from '../options/statuses.ts'
import { readStatus, type GatewayStatus } from '../traffic/gateway-status.ts'
import { createWaiter } from '../traffic/idle-waiter.ts'
import { createSettledReport } from '../traffic/settled-report.ts'
import type { StopState } from '../traffic/stop-state.ts'
import { closeRoutes, openRoutes, setWeight } from '../upstream/open-routes.ts'
import { watchReadiness } from '../upstream/readiness-probes.ts'
import { createTunnels } from '../websocket/tunnels.ts'
import { drain } from './drain.ts'
import { startIdleSweep } from './idle-sweep.ts'

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
  return openGateway(resolveGatewayOptions(options))
}

/** Starts a gateway whose options have been read. @throws GatewayError `ERR_GATEWAY_LISTEN_FAILED` */
export async function openGateway(settings: ResolvedGatewayOptions): Promise<Gateway> {
  const { logger } = settings
  settings.signal?.throwIfAborted()

  const routes = openRoutes(settings, systemClock)
  const names = routes.map((route) => route.name)
  const maintenance =
    settings.maintenance && (await watchMaintenance(settings.maintenance, names, logger, systemClock))
  const admission = createAdmission(settings, routes, maintenance)
  const isClosed = ({ request, plan }: ExchangeRecord): boolean =>
    admission.notice(request, plan.route) !== undefined

  const state: StopState = { stopping: false, draining: false }
  const report = createSettledReport(settings.onSettled, logger)
  const refusals = createRefusals(settings, state)
  const tunnels = createTunnels()
  const waiter = createWaiter(() => exchanges.size + tunnels.size + connections.size === 0)
  const onOver = (): void => waiter.check()
  const exchanges = createExchanges({ settings, state, tunnels, refusals, isClosed, report, onOver })
  const requests = createRequestHandler({ logger, state, admission, exchanges, refusals, report })

  const { server, connections } = createFrontServer(settings, {
    isWebSocket: (request) => admission.isWebSocket(request),
    onRequest: (request, response, takeSocket) => requests.handle(request, response, takeSocket),
    onBrokenBody({ request, response }, reason) {
      refusals.broken(request)
      exchanges.breakOff(response, reason)
      if (!reason) breakOff(response)
    },
    onOver,
    onMalformed(requestId, error) {
      const unread = { method: '', route: undefined, upstream: undefined, attempts: 0 }
      const status = statusOf(error, statuses)
      report({ ...unread, requestId, status, outcome: error.code, startedAt: performance.now() })
    },
  })

  maintenance?.onChange(() => void tunnels.goAway('maintenance', isClosed))
  const probes = watchReadiness(routes, settings.probes, logger)
  const endSweep = startIdleSweep({ settings, routes, exchanges, connections })

  async function release(): Promise<void> {
    endSweep()
    probes.stop()
    await maintenance?.close()
    closeRoutes(routes)
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
      state.stopping = state.draining = true
      settings.signal?.removeEventListener('abort', onAbort)
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      tunnels.destroyAll()
      exchanges.destroyAll()
      connections.destroyAll()
      await release()
      await closed
    })()
    return closing
  }
  const onAbort = (): void => void close()
  settings.signal?.addEventListener('abort', onAbort, { once: true })

  return {
    url,
    status() {
      return readStatus(routes, maintenance, {
        draining: state.draining,
        connections: connections.size,
        exchanges: exchanges.size + requests.counting,
        tunnels: tunnels.size,
      })
    },
    setWeight: (route, upstream, weight) => setWeight(routes, route, upstream, weight),
    announceStop() {
      state.stopping = true
    },
    drain(reason, signal) {
      state.stopping = state.draining = true
      return drain({ server, connections, tunnels, waiter }, reason, signal)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
