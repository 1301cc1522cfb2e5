import type { IncomingMessage, ServerResponse } from 'node:http'
import { networkOf } from '@quintet/core/http'
import { safeEqual } from '@quintet/core/kit'
import { affinityKey, tenantHint } from './affinity.ts'
import { GatewayError } from '../errors.ts'
import type { ExchangePlan } from '../exchange/exchange-host.ts'
import type { PathRewrite } from '../exchange/response-headers.ts'
import { findOrigin, writeForwarded, type Origin } from './forwarded.ts'
import type { LiveRoute } from '../upstream/open-routes.ts'
import type { ResolvedMaintenance } from '../maintenance/maintenance-options.ts'
import type { Maintenance } from '../maintenance/watch-maintenance.ts'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'
import { createRateLimit } from './rate-limit.ts'
import { prefixOf } from '../options/route-options.ts'
import { readRequestHeaders, type RequestHeaders } from './request-headers.ts'
import { parseRequestTarget, type RequestTarget } from './request-target.ts'
import { createRouteTable, type RouteMatch } from './route-table.ts'

const operatorHeader = 'x-maintenance-token'

/** What a request is let in for, before its rate is counted. */
export interface Admitted {
  readonly route: LiveRoute
  readonly origin: Origin
  readonly plan: ExchangePlan
}

/** Decides which requests go on, where to, and with which headers. */
export interface Admission {
  /** Whether the request is a handshake that a route lets through. */
  isWebSocket(request: IncomingMessage): boolean
  /** @throws GatewayError with the answer to a request that does not go on. */
  admit(request: IncomingMessage, target: RequestTarget, requestId: string, upgrade: boolean): Admitted
  /** The notice by which maintenance closes the route for the sender of this request, who is no operator. */
  notice(request: IncomingMessage, route: LiveRoute): string | undefined
  /** Counts the request against the limit of its route. @throws GatewayError */
  count(request: IncomingMessage, response: ServerResponse, admitted: Admitted): Promise<void> | undefined
}

export function createAdmission(
  settings: ResolvedGatewayOptions,
  routes: readonly LiveRoute[],
  maintenance: Maintenance | undefined,
): Admission {
  const table = createRouteTable(routes)
  const allowance = settings.maintenance?.allow
  const dropped = allowance?.token === undefined ? undefined : operatorHeader
  const rateLimits = new Map(
    routes.flatMap((route) =>
      route.rateLimit
        ? [[route, createRateLimit(route.name, route.rateLimit, settings.logger)] as const]
        : [],
    ),
  )

  function findRoute(target: RequestTarget): RouteMatch<LiveRoute> {
    const match = table.match(target.path)
    if (!match) throw new GatewayError('ERR_GATEWAY_NO_ROUTE', 'Nothing is served under this path.')
    // An app would read what follows as an authority.
    if (match.path.startsWith('//')) {
      throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The path has an empty segment after its prefix.')
    }
    return match
  }

  function originOf(request: IncomingMessage, host: string): Origin {
    return findOrigin(request.socket.remoteAddress, host, request.headers, settings.trustedProxies)
  }

  function noticeFor(route: LiveRoute, request: IncomingMessage, origin: () => Origin): string | undefined {
    const notice = maintenance?.notice(route.name, () => tenantHint(request))
    if (notice === undefined || !settings.maintenance) return undefined
    return isOperator(settings.maintenance, request, origin()) ? undefined : notice
  }

  function refuseInMaintenance(route: LiveRoute, request: IncomingMessage, origin: Origin): void {
    const notice = noticeFor(route, request, () => origin)
    if (notice === undefined || !settings.maintenance) return
    throw new GatewayError(
      'ERR_GATEWAY_MAINTENANCE',
      notice === '' ? 'The service is down for maintenance. Try again later.' : notice,
      { retryAfter: settings.maintenance.retryAfter },
    )
  }

  return {
    isWebSocket(request) {
      if (!isHandshake(request)) return false
      try {
        return table.match(parseRequestTarget(request.url ?? '').path)?.route.websocket === true
      } catch {
        return false
      }
    },
    admit(request, target, requestId, upgrade) {
      const trusted = settings.trustedProxies.has(request.socket.remoteAddress)
      const headers = readRequestHeaders(request.rawHeaders, { dropped, trusted })
      assertAnswerable(request, headers)
      if (upgrade && headers.hasBody)
        throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'A WebSocket handshake has no body.')
      const { route, path } = findRoute(target)
      if (!upgrade && route.websocket && isHandshake(request)) {
        throw new GatewayError(
          'ERR_GATEWAY_BAD_REQUEST',
          namesUpgrade(request)
            ? 'A WebSocket handshake must not be sent before the earlier requests of its connection are answered.'
            : 'A WebSocket handshake needs the header "Connection: Upgrade", which a proxy in front may have dropped.',
        )
      }
      const host = target.authority ?? headers.host
      const origin = originOf(request, host)
      refuseInMaintenance(route, request, origin)
      if ((headers.contentLength ?? 0) > route.maxRequestSize) {
        throw new GatewayError(
          'ERR_GATEWAY_BODY_TOO_LARGE',
          `The request body is larger than ${route.maxRequestSize} bytes.`,
        )
      }
      const prefix = origin.prefix + prefixOf(route)
      return {
        route,
        origin,
        plan: {
          route,
          group: route.group,
          affinityKey: route.affinity && affinityKey(route.affinity, request, origin.address),
          path: path + target.query,
          headers: headersFor(route, headers, host, origin, prefix, requestId),
          rewrite: rewriteOf(route, origin.prefix, host),
          hasBody: headers.hasBody,
          chunked: headers.chunked,
          requestId,
          // HTTP/1.0 knows no interim answers (RFC 9110, section 10.1.1).
          expectsContinue: request.headers.expect !== undefined && request.httpVersion === '1.1',
          upgrade,
        },
      }
    },
    notice: (request, route) => noticeFor(route, request, () => originOf(request, '')),
    count(request, response, { route, origin }) {
      if (!route.rateLimit) return undefined
      const key = affinityKey(route.rateLimit.by, request, origin.address) ?? networkOf(origin.address)
      return rateLimits.get(route)?.(key, response)
    },
  }
}

function rewriteOf(route: LiveRoute, prefix: string, host: string): PathRewrite | undefined {
  const from = route.stripPrefix ? route.upstreamPath.replace(/\/$/, '') : ''
  const to = prefix + (route.stripPrefix ? route.path.slice(0, -1) : '')
  return from === to ? undefined : { from, to, host }
}

function isHandshake(request: IncomingMessage): boolean {
  return (
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    request.method === 'GET' &&
    request.httpVersion === '1.1'
  )
}

function namesUpgrade({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(headers.connection ?? '')
}

/** @throws GatewayError for what the gateway answers no request with. */
export function assertAnswerable(request: IncomingMessage, headers: RequestHeaders): void {
  if (request.httpVersion !== '1.1') {
    if (request.httpVersion !== '1.0')
      throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The version of HTTP is neither 1.0 nor 1.1.')
    // HTTP/1.0 knows no chunks: a hop in front may have read another body (RFC 9112, section 6.1).
    if (headers.chunked)
      throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'A request of HTTP/1.0 has no chunks.')
  }
  // It would tell its sender what proxies have added (RFC 9110, section 9.3.8).
  if (request.method === 'TRACE')
    throw new GatewayError('ERR_GATEWAY_NOT_IMPLEMENTED', 'TRACE is not supported.')
  if (request.httpVersion !== '1.1') return
  if (headers.host === '') throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'There is no Host header.')
  const { expect } = request.headers
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw new GatewayError(
      'ERR_GATEWAY_BAD_REQUEST',
      'The only expectation that is supported is "100-continue".',
    )
  }
}

/** The headers for the upstream: what the client sent from end to end, and what the gateway knows itself. */
function headersFor(
  route: LiveRoute,
  { forward, contentLength, hasBody }: RequestHeaders,
  host: string,
  origin: Origin,
  prefix: string,
  requestId: string,
): string[] {
  // Only HTTP/1.0 comes without a host.
  const named = host === '' ? new URL(route.upstreams[0]?.url ?? '').host : host
  forward.push('host', named, 'via', '1.1 quintet', 'x-request-id', requestId)
  writeForwarded(forward, origin, prefix)
  if (contentLength !== undefined && hasBody) forward.push('content-length', String(contentLength))
  return forward
}

function isOperator({ allow }: ResolvedMaintenance, request: IncomingMessage, origin: Origin): boolean {
  if (allow.addresses.has(origin.address)) return true
  const token = request.headers[operatorHeader]
  if (allow.token === undefined || typeof token !== 'string') return false
  return safeEqual(token, allow.token.reveal())
}
