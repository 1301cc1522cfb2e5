import { type Duration, type Logger, silentLogger, type Size } from '@quintet/core'
import { parseDuration, parseSize, refuseUnknownKeys } from '@quintet/core/kit'
import { parseAddressList, type AddressList } from '../address-list.ts'
import {
  resolveMaintenance,
  type MaintenanceOptions,
  type ResolvedMaintenance,
} from '../maintenance/maintenance-options.ts'
import { resolveRoute, type GatewayRouteOptions, type ResolvedRoute } from './route-options.ts'
import type { SettledExchange } from './settled-exchange.ts'

export interface GatewayOptions {
  readonly routes: readonly GatewayRouteOptions[]
  /** @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** 0 takes a free one. @defaultValue 8080 */
  readonly port?: number
  readonly logger?: Logger
  /** Addresses and networks of proxies in front, whose `X-Forwarded-*` headers are believed. @defaultValue none */
  readonly trustedProxies?: readonly string[]
  readonly maintenance?: MaintenanceOptions
  readonly timeouts?: TimeoutOptions
  /** The largest request line and header section together; more is answered with 431. @defaultValue `'16kb'` */
  readonly maxHeaderSize?: Size
  /** Client connections at once; more are closed on arrival. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** `false`: an attempt that failed is never repeated. */
  readonly retries?: false | RetryOptions
  /** `false`: an upstream stays in use however often it fails. */
  readonly ejection?: false | EjectionOptions
  /** Asks each upstream of a route that has several whether it is ready. `false`: it is taken to be. */
  readonly probes?: false | ProbeOptions
  /** Headers added to every answer that does not have them. `false` for none. @defaultValue {@link defaultSecurityHeaders} */
  readonly securityHeaders?: false | Readonly<Record<string, string>>
  /** Which pages of other origins may read the gateway's own answers. What an upstream answers is the upstream's. @defaultValue none */
  readonly cors?: CorsOptions
  /** Told about every request when it is over. */
  readonly onSettled?: (exchange: SettledExchange) => void
  /** Stops the start, and closes the gateway at once, when it aborts. */
  readonly signal?: AbortSignal
}

export interface TimeoutOptions {
  /** Until an upstream has accepted the connection. @defaultValue `'2s'` */
  readonly connect?: Duration
  /** Until an upstream has answered with headers, after the whole request was sent. @defaultValue `'60s'` */
  readonly headers?: Duration
  /** How long a body may stand still, in either direction. An open WebSocket may be silent for as long as it likes. @defaultValue `'60s'` */
  readonly idle?: Duration
  /** How long a client may take to send its headers. @defaultValue `'15s'` */
  readonly requestHeaders?: Duration
  /** How long a client's connection is kept between two requests. @defaultValue `'75s'` */
  readonly keepAlive?: Duration
}

export interface RetryOptions {
  /** How often one request is tried again. @defaultValue 1 */
  readonly attempts?: number
  /** Retries as a share of requests, so that they cannot double the load of a failing service. @defaultValue 0.2 */
  readonly budget?: number
}

/** @see https://fetch.spec.whatwg.org/#http-cors-protocol */
export interface CorsOptions {
  /** Origins such as `https://app.example`, or `'*'` for any. */
  readonly origins: '*' | readonly string[]
  /** Whether requests may carry cookies; not with `'*'`. @defaultValue false */
  readonly credentials?: boolean
}

export interface ProbeOptions {
  /** What is asked for. 5xx and no answer mean "not ready"; any other status means "ready". @defaultValue `'/readyz'` */
  readonly path?: string
  /** @defaultValue `'1s'` */
  readonly interval?: Duration
  /** How long an answer may take. @defaultValue `'1s'` */
  readonly timeout?: Duration
}

export interface EjectionOptions {
  /** How many failures in a row take an upstream out of use. @defaultValue 5 */
  readonly failures?: number
  /** For how long, times the number of ejections in a row. @defaultValue `'5s'` */
  readonly duration?: Duration
  /** The longest ejection. @defaultValue `'60s'` */
  readonly maxDuration?: Duration
  /** The largest part of a route's upstreams that may be out of use at once, in percent. @defaultValue 50 */
  readonly maxEjectedPercent?: number
}

export const defaultSecurityHeaders: Readonly<Record<string, string>> = Object.freeze({
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
})

export const gatewayDefaults = Object.freeze({
  host: '127.0.0.1',
  port: 8080,
  maxHeaderSize: '16kb',
  maxConnections: 10_000,
  timeouts: Object.freeze({
    connect: '2s',
    headers: '60s',
    idle: '60s',
    requestHeaders: '15s',
    keepAlive: '75s',
  }),
  retries: Object.freeze({ attempts: 1, budget: 0.2 }),
  probes: Object.freeze({ path: '/readyz', interval: '1s', timeout: '1s' }),
  ejection: Object.freeze({ failures: 5, duration: '5s', maxDuration: '60s', maxEjectedPercent: 50 }),
} as const)

export interface Timeouts {
  readonly connect: number
  readonly headers: number
  readonly idle: number
  readonly requestHeaders: number
  readonly keepAlive: number
}

export interface ResolvedCors {
  readonly origins: '*' | ReadonlySet<string>
  readonly credentials: boolean
}

export interface ResolvedProbes {
  readonly path: string
  readonly interval: number
  readonly timeout: number
}

export interface ResolvedEjection {
  readonly failures: number
  readonly duration: number
  readonly maxDuration: number
  readonly maxEjectedPercent: number
}

/** The options with every default filled in; durations in milliseconds, sizes in bytes. */
export interface ResolvedGatewayOptions {
  readonly routes: readonly ResolvedRoute[]
  readonly host: string
  readonly port: number
  readonly logger: Logger
  readonly trustedProxies: AddressList
  readonly maintenance: ResolvedMaintenance | undefined
  readonly timeouts: Timeouts
  readonly maxHeaderSize: number
  readonly maxConnections: number
  readonly retries: { readonly attempts: number; readonly budget: number } | undefined
  readonly probes: ResolvedProbes | undefined
  readonly ejection: ResolvedEjection | undefined
  /** Flat name and value pairs. */
  readonly securityHeaders: readonly string[]
  readonly cors: ResolvedCors | undefined
  readonly onSettled: (exchange: SettledExchange) => void
  readonly signal: AbortSignal | undefined
}

const known: readonly (keyof GatewayOptions)[] = [
  'routes',
  'host',
  'port',
  'logger',
  'trustedProxies',
  'maintenance',
  'timeouts',
  'maxHeaderSize',
  'maxConnections',
  'retries',
  'probes',
  'ejection',
  'securityHeaders',
  'cors',
  'onSettled',
  'signal',
]

/** @throws TypeError naming every option that is unknown, missing or out of range. */
export function resolveGatewayOptions(options: GatewayOptions): ResolvedGatewayOptions {
  refuseUnknownKeys(options, known, 'gateway')
  if (!Array.isArray(options.routes) || options.routes.length === 0) {
    throw new TypeError(
      "gateway.routes: give at least one route, e.g. { name: 'media', path: '/api/media/', upstreams: ['http://127.0.0.1:3002'] }.",
    )
  }
  const timeouts = resolveTimeouts(options.timeouts ?? {}, 'gateway.timeouts')
  const routes = options.routes.map((route, index) =>
    resolveRoute(route, timeouts, `gateway.routes[${index}]`),
  )
  refuseTwice(
    routes.map((route) => route.name),
    'name',
  )
  refuseTwice(
    routes.map((route) => route.path),
    'path',
  )
  return {
    routes,
    host: options.host ?? gatewayDefaults.host,
    port: whole(options.port ?? gatewayDefaults.port, 0, 65_535, 'gateway.port'),
    logger: options.logger ?? silentLogger,
    trustedProxies: parseAddressList(options.trustedProxies ?? [], 'gateway.trustedProxies'),
    maintenance: options.maintenance && resolveMaintenance(options.maintenance, 'gateway.maintenance'),
    timeouts,
    maxHeaderSize: parseSize(options.maxHeaderSize ?? gatewayDefaults.maxHeaderSize, 'gateway.maxHeaderSize'),
    maxConnections: whole(
      options.maxConnections ?? gatewayDefaults.maxConnections,
      1,
      1_000_000,
      'gateway.maxConnections',
    ),
    retries: options.retries === false ? undefined : resolveRetries(options.retries ?? {}),
    probes: options.probes === false ? undefined : resolveProbes(options.probes ?? {}),
    ejection: options.ejection === false ? undefined : resolveEjection(options.ejection ?? {}),
    securityHeaders: Object.entries(
      options.securityHeaders === false ? {} : (options.securityHeaders ?? defaultSecurityHeaders),
    ).flatMap(([name, value]) => [name.toLowerCase(), value]),
    cors: options.cors && resolveCors(options.cors),
    onSettled: options.onSettled ?? (() => undefined),
    signal: options.signal,
  }
}

function resolveTimeouts(options: TimeoutOptions, path: string): Timeouts {
  const defaults = gatewayDefaults.timeouts
  refuseUnknownKeys(options, Object.keys(defaults), path)
  return {
    connect: parseDuration(options.connect ?? defaults.connect, `${path}.connect`),
    headers: parseDuration(options.headers ?? defaults.headers, `${path}.headers`),
    idle: parseDuration(options.idle ?? defaults.idle, `${path}.idle`),
    requestHeaders: parseDuration(
      options.requestHeaders ?? defaults.requestHeaders,
      `${path}.requestHeaders`,
    ),
    keepAlive: parseDuration(options.keepAlive ?? defaults.keepAlive, `${path}.keepAlive`),
  }
}

function resolveRetries(options: RetryOptions): { attempts: number; budget: number } {
  const defaults = gatewayDefaults.retries
  refuseUnknownKeys(options, Object.keys(defaults), 'gateway.retries')
  const budget = options.budget ?? defaults.budget
  if (!(budget >= 0 && budget <= 1))
    throw new TypeError(`gateway.retries.budget: ${budget} is not a share between 0 and 1.`)
  return { attempts: whole(options.attempts ?? defaults.attempts, 0, 10, 'gateway.retries.attempts'), budget }
}

function resolveCors(options: CorsOptions): ResolvedCors {
  refuseUnknownKeys(options, ['origins', 'credentials'], 'gateway.cors')
  const { origins, credentials = false } = options
  if (typeof credentials !== 'boolean')
    throw new TypeError('gateway.cors.credentials: must be true or false.')
  if (origins === '*') {
    if (credentials)
      throw new TypeError(
        'gateway.cors.credentials: browsers refuse cookies for any origin. List the origins.',
      )
    return { origins, credentials }
  }
  if (!Array.isArray(origins)) throw new TypeError("gateway.cors.origins: must be a list of origins, or '*'.")
  const strange = origins.find((origin) => !URL.canParse(origin) || new URL(origin).origin !== origin)
  if (strange !== undefined)
    throw new TypeError(
      `gateway.cors.origins: ${JSON.stringify(strange)} is not an origin such as "https://app.example".`,
    )
  return { origins: new Set(origins), credentials }
}

function resolveProbes(options: ProbeOptions): ResolvedProbes {
  const defaults = gatewayDefaults.probes
  refuseUnknownKeys(options, Object.keys(defaults), 'gateway.probes')
  const path = options.path ?? defaults.path
  if (typeof path !== 'string' || !/^\/(?!\/)[\x21-\x22\x24-\x7e]*$/.test(path))
    throw new TypeError(`gateway.probes.path: ${JSON.stringify(path)} is not a path such as "/readyz".`)
  const interval = parseDuration(options.interval ?? defaults.interval, 'gateway.probes.interval')
  if (interval < 10) throw new TypeError('gateway.probes.interval: must be 10 ms or more.')
  const timeout = parseDuration(options.timeout ?? defaults.timeout, 'gateway.probes.timeout')
  if (timeout < 1) throw new TypeError('gateway.probes.timeout: must be 1 ms or more.')
  return { path, interval, timeout }
}

function resolveEjection(options: EjectionOptions): ResolvedEjection {
  const defaults = gatewayDefaults.ejection
  const path = 'gateway.ejection'
  refuseUnknownKeys(options, Object.keys(defaults), path)
  return {
    failures: whole(options.failures ?? defaults.failures, 1, 1_000, `${path}.failures`),
    duration: parseDuration(options.duration ?? defaults.duration, `${path}.duration`),
    maxDuration: parseDuration(options.maxDuration ?? defaults.maxDuration, `${path}.maxDuration`),
    maxEjectedPercent: whole(
      options.maxEjectedPercent ?? defaults.maxEjectedPercent,
      0,
      100,
      `${path}.maxEjectedPercent`,
    ),
  }
}

/** @throws TypeError when the value is not a whole number within the bounds. */
export function whole(value: number, least: number, most: number, path: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new TypeError(`${path}: ${JSON.stringify(value)} is not a whole number from ${least} to ${most}.`)
}

function refuseTwice(values: readonly string[], what: string): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index)
  if (twice !== undefined)
    throw new TypeError(`gateway.routes: two routes have the ${what} ${JSON.stringify(twice)}.`)
}
