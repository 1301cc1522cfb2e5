import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { GatewayError } from '../errors.ts'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'
import type { Outcome } from '../traffic/settled-report.ts'
import type { StopState } from '../traffic/stop-state.ts'
import type { Tunnels } from '../websocket/tunnels.ts'
import { writeUpgradeHead } from '../websocket/upgrade-head.ts'
import type { ExchangeHost, ExchangePlan, ExchangeRecord } from '../exchange/exchange-host.ts'
import { Exchange } from '../exchange/exchange.ts'
import type { Refusals } from '../exchange/refusals.ts'
import { createRetryBudget } from '../exchange/retry-budget.ts'

/** The requests that are on their way through. */
export interface Exchanges {
  readonly size: number
  /** `takeSocket` is there for a WebSocket handshake. */
  begin(
    request: IncomingMessage,
    response: ServerResponse,
    plan: ExchangePlan,
    takeSocket: (() => Socket) | undefined,
  ): void
  has(response: ServerResponse): boolean
  /** Ends one whose request cannot be read on. Without a reason the client has left. */
  breakOff(response: ServerResponse, reason: GatewayError | undefined): void
  /** Ends all, without an answer. */
  destroyAll(): void
  /** Ends those that have stood still for too long. */
  checkIdle(now: number): void
}

export interface ExchangesOptions {
  readonly settings: Pick<ResolvedGatewayOptions, 'logger' | 'retries' | 'securityHeaders'>
  readonly state: StopState
  readonly tunnels: Tunnels
  readonly refusals: Refusals
  /** Whether maintenance has closed what a handshake asked for. */
  readonly isClosed: (exchange: ExchangeRecord) => boolean
  readonly report: (outcome: Outcome) => void
  /** One is over. */
  readonly onOver: () => void
}

export function createExchanges(options: ExchangesOptions): Exchanges {
  const { settings, state, tunnels, refusals, isClosed, report, onOver } = options
  const { logger } = settings
  const exchanges = new Map<ServerResponse, Exchange>()

  const host: ExchangeHost = {
    retries: {
      attempts: settings.retries?.attempts ?? 0,
      budget: createRetryBudget(settings.retries?.budget ?? 0),
    },
    securityHeaders: settings.securityHeaders,
    get stopping() {
      return state.stopping
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
      refusals.refuse(request, response, error, plan.requestId)
    },
    upgraded(exchange, upstreamSocket, headers, released) {
      const client = exchange.takeSocket?.()
      if (!client) {
        upstreamSocket.destroy()
        return
      }
      const protocol = writeUpgradeHead(client, headers, exchange.plan)
      const leave = state.draining ? 'shutdown' : isClosed(exchange) ? 'maintenance' : undefined
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

  function settle(exchange: ExchangeRecord, status: number, outcome: string): void {
    exchanges.delete(exchange.response)
    onOver()
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

  return {
    get size() {
      return exchanges.size
    },
    begin(request, response, plan, takeSocket) {
      const exchange = new Exchange(request, response, plan, host, takeSocket)
      exchanges.set(response, exchange)
      exchange.start()
    },
    has: (response) => exchanges.has(response),
    breakOff: (response, reason) => exchanges.get(response)?.breakOff(reason),
    destroyAll() {
      for (const exchange of exchanges.values()) exchange.breakOff()
    },
    checkIdle(now) {
      for (const exchange of exchanges.values()) exchange.checkIdle(now)
    },
  }
}
