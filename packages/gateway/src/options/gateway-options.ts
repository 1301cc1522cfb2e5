import type { Duration, Logger, Size } from '@quintet/core'
import { parseAddressList, type SecurityHeaders } from '@quintet/core/http'
import { option, readOptions, type NoteProblem, type ResolvedOptions } from '@quintet/core/kit'
import { corsOption, type CorsOptions } from './cors-options.ts'
import { ejectionDefaults, ejectionOption, type EjectionOptions } from './ejection-options.ts'
import { probeDefaults, probesOption, type ProbeOptions } from './probe-options.ts'
import { securityHeadersOption } from './security-headers.ts'
import { maintenanceOption, type MaintenanceOptions } from '../maintenance/maintenance-options.ts'
import {
  routeOption,
  type GatewayRouteOptions,
  type ResolvedRoute,
  type RouteSettings,
} from './route-options.ts'
import type { SettledExchange } from './settled-exchange.ts'

export interface GatewayOptions {
  readonly routes: readonly GatewayRouteOptions[]
  /** @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** 0 takes a free one. @defaultValue 8080 */
  readonly port?: number
  /** Listen on a socket that the process has inherited, by its file descriptor, in place of `host` and `port`: see `inheritedSockets` of `@quintet/core/http`. @defaultValue undefined */
  readonly fd?: number
  readonly logger?: Logger
  /** Addresses and networks of proxies in front, whose `X-Forwarded-*` headers are believed. @defaultValue none */
  readonly trustedProxies?: readonly string[]
  readonly maintenance?: MaintenanceOptions
  readonly timeouts?: TimeoutOptions
  /** The largest request line and header section together; more is answered with 431. @defaultValue `'16kb'` */
  readonly maxHeaderSize?: Size
  /** The largest status line and header section of an upstream's answer; more is answered with 502. @defaultValue `'64kb'` */
  readonly maxResponseHeaderSize?: Size
  /** Client connections at once; more are closed on arrival. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** `false`: an attempt that failed is never repeated. */
  readonly retries?: false | RetryOptions
  /** `false`: an upstream stays in use however often it fails. */
  readonly ejection?: false | EjectionOptions
  /** Asks each upstream of a route that has several whether it is ready. `false`: it is taken to be. */
  readonly probes?: false | ProbeOptions
  /**
   * Headers added to every answer that does not have them, over {@link gatewaySecurityHeaders}: `false` drops one, and
   * for all, every one. @defaultValue {@link gatewaySecurityHeaders}
   */
  readonly securityHeaders?: SecurityHeaders
  /** Which pages of other origins may read the gateway's own answers. What an upstream answers is the upstream's. @defaultValue none */
  readonly cors?: CorsOptions
  /** Told about every request when it is over. */
  readonly onSettled?: (exchange: SettledExchange) => unknown
  /** Stops the start, and closes the gateway at once, when it aborts. */
  readonly signal?: AbortSignal
}

export interface TimeoutOptions {
  /** Until an upstream has accepted the connection. @defaultValue `'2s'` */
  readonly connect?: Duration
  /** Until an upstream has answered with headers, after the whole request was sent. @defaultValue `'60s'` */
  readonly headers?: Duration
  /** How long an exchange may stand still in both directions. An open WebSocket may be silent for as long as it likes. @defaultValue `'60s'` */
  readonly idle?: Duration
  /** How long a client may take to send its headers. @defaultValue `'15s'` */
  readonly requestHeaders?: Duration
  /** How long a client's connection is kept between two requests. @defaultValue `'75s'` */
  readonly keepAlive?: Duration
  /**
   * How long a connection to an upstream is kept between two requests where the upstream says nothing in `Keep-Alive`.
   * Give less than the upstream's own. @defaultValue `'4s'`
   */
  readonly upstreamKeepAlive?: Duration
}

export interface RetryOptions {
  /** How often one request is tried again. @defaultValue 1 */
  readonly attempts?: number
  /** Retries as a share of requests, so that they cannot double the load of a failing service. @defaultValue 0.2 */
  readonly budget?: number
}

export const gatewayDefaults = Object.freeze({
  host: '127.0.0.1',
  port: 8080,
  maxHeaderSize: '16kb',
  maxResponseHeaderSize: '64kb',
  maxConnections: 10_000,
  timeouts: Object.freeze({
    connect: '2s',
    headers: '60s',
    idle: '60s',
    requestHeaders: '15s',
    keepAlive: '75s',
    upstreamKeepAlive: '4s',
  }),
  retries: Object.freeze({ attempts: 1, budget: 0.2 }),
  probes: probeDefaults,
  ejection: ejectionDefaults,
} as const)

const { timeouts, retries } = gatewayDefaults

const timeoutsSpec = {
  connect: option.delay(timeouts.connect),
  headers: option.delay(timeouts.headers),
  idle: option.delay(timeouts.idle),
  requestHeaders: option.delay(timeouts.requestHeaders),
  keepAlive: option.delay(timeouts.keepAlive),
  upstreamKeepAlive: option.delay(timeouts.upstreamKeepAlive, { min: 1 }),
}

/** In milliseconds. */
export type Timeouts = ResolvedOptions<typeof timeoutsSpec>

/** How the options are read that the gateway has in common with the configuration of an nginx. */
export const sharedSpec = {
  routes: option.list(routeOption, { min: 1 }),
  host: option.host(gatewayDefaults.host),
  port: option.port(gatewayDefaults.port),
  timeouts: option.nested(timeoutsSpec),
  maxHeaderSize: option.size(gatewayDefaults.maxHeaderSize, { min: '1kb' }),
  maxResponseHeaderSize: option.size(gatewayDefaults.maxResponseHeaderSize, { min: '1kb', max: '1mb' }),
  maxConnections: option.count(gatewayDefaults.maxConnections, { min: 1, max: 1_000_000 }),
  retries: option
    .nested({
      attempts: option.count(retries.attempts, { max: 10 }),
      budget: option.number(retries.budget, { min: 0, max: 1 }),
    })
    .orFalse(),
  securityHeaders: securityHeadersOption,
}

const spec = {
  ...sharedSpec,
  fd: option.descriptor().optional(),
  logger: option.logger(),
  trustedProxies: option.list(option.address()).map(parseAddressList),
  maintenance: maintenanceOption.optional(),
  probes: probesOption.orFalse(),
  ejection: ejectionOption.orFalse(),
  cors: corsOption.optional(),
  onSettled: option.function<(exchange: SettledExchange) => unknown>(() => undefined),
  signal: option.signal(),
}

/** A part of the gateway that can be switched off. */
type Optional = 'retries' | 'probes' | 'ejection'

/** The options with every default filled in; durations in milliseconds, sizes in bytes. */
export type ResolvedGatewayOptions = Omit<ResolvedOptions<typeof spec>, 'routes' | Optional> & {
  readonly routes: readonly ResolvedRoute[]
} & { readonly [Part in Optional]: Exclude<ResolvedOptions<typeof spec>[Part], false> | undefined }

/** @throws TypeError naming every option that is unknown, missing or out of range. */
export function resolveGatewayOptions(options: GatewayOptions): ResolvedGatewayOptions {
  const read = readOptions(options, spec, 'gateway', {
    check(found, note) {
      checkRoutes(found, note)
      if (found.fd !== undefined && options.port !== undefined)
        note('fd', 'contradicts port: the socket has one already. Leave one of them out.')
    },
  })
  return {
    ...read,
    routes: withTimeouts(read.routes, read.timeouts),
    retries: read.retries || undefined,
    probes: read.probes || undefined,
    ejection: read.ejection || undefined,
  }
}

/** Checks that concern several routes together. */
export function checkRoutes(
  options: { readonly routes: readonly RouteSettings[]; readonly maintenance: unknown },
  note: NoteProblem,
): void {
  for (const what of ['name', 'path'] as const) {
    const values = options.routes.map((route) => route[what])
    const twice = values.find((value, index) => values.indexOf(value) !== index)
    if (twice !== undefined) note('routes', `two routes have the ${what} ${JSON.stringify(twice)}.`)
  }
  if (options.maintenance !== undefined && options.routes.some(({ name }) => name === 'tenants'))
    note(
      'routes',
      'with maintenance no route can be called "tenants": its flag would be the list of closed tenants.',
    )
}

/** The routes with the gateway's time limits where they have none of their own. */
export function withTimeouts(
  routes: readonly RouteSettings[],
  { headers, idle }: Timeouts,
): readonly ResolvedRoute[] {
  return routes.map((route) => ({
    ...route,
    timeouts: { headers: route.timeouts.headers ?? headers, idle: route.timeouts.idle ?? idle },
  }))
}
