import type { Duration, Size } from '@quintet/core'
import { parseDuration, parseSize, refuseUnknownKeys } from '@quintet/core/kit'
import type { RateLimiter } from './rate-limiter.ts'

export interface GatewayRouteOptions {
  /** The app behind it: the `<app>` of `platform:maintenance:<app>`. Lower case letters, digits and dashes. */
  readonly name: string
  /** Starts and ends with a slash. The longest one that is a prefix of the request's path wins. */
  readonly path: string
  /** `http://` or `https://` origins, alike or with weights. */
  readonly upstreams: readonly (string | UpstreamOptions)[]
  /** Ask the upstream for the path without the route's own. @defaultValue true */
  readonly stripPrefix?: boolean
  /** What stands at the upstream in place of the route's own path, e.g. `/ws`. Needs `stripPrefix`. @defaultValue `'/'` */
  readonly upstreamPath?: string
  /** Let WebSocket upgrades through. Without it the request goes on as an ordinary one. @defaultValue false */
  readonly websocket?: boolean
  /** The largest request body; more is answered with 413. @defaultValue no limit */
  readonly maxRequestSize?: Size
  /** Requests in progress at once, over all upstreams; more are answered with 503. @defaultValue 1000 */
  readonly maxConcurrentRequests?: number
  /** WebSockets open at once, over all upstreams; more are answered with 503. @defaultValue 10 000 */
  readonly maxWebSockets?: number
  /**
   * Send what belongs together to the same upstream, by consistent hashing: requests of one tenant (the `tid`
   * claim of the bearer token, as a hint that is not verified), of one client address, or with the same value
   * of a header or cookie. What has no such value goes to any.
   */
  readonly affinity?: Affinity
  readonly rateLimit?: RateLimitOptions
  /** In place of the gateway's own, e.g. for event streams that may be silent for long. */
  readonly timeouts?: { readonly headers?: Duration; readonly idle?: Duration }
}

export interface UpstreamOptions {
  readonly url: string
  /** The share of requests, relative to the other upstreams; 0 takes it out of use. @defaultValue 1 */
  readonly weight?: number
}

export type Affinity = 'tenant' | 'client' | { readonly header: string } | { readonly cookie: string }

export interface RateLimitOptions {
  readonly limiter: RateLimiter
  /** Whose requests are counted together. @defaultValue `'client'` */
  readonly by?: Affinity
  /** What to do when the limiter fails or takes longer than 250 ms. @defaultValue `'allow'` */
  readonly onFailure?: 'allow' | 'refuse'
}

export const routeDefaults = Object.freeze({
  stripPrefix: true,
  upstreamPath: '/',
  websocket: false,
  maxRequestSize: Number.POSITIVE_INFINITY,
  maxConcurrentRequests: 1_000,
  maxWebSockets: 10_000,
} as const)

export interface ResolvedUpstream {
  /** The origin, e.g. `http://127.0.0.1:3002`. */
  readonly url: string
  readonly weight: number
}

export interface ResolvedRoute {
  readonly name: string
  readonly path: string
  readonly upstreams: readonly ResolvedUpstream[]
  readonly stripPrefix: boolean
  readonly upstreamPath: string
  readonly websocket: boolean
  readonly maxRequestSize: number
  readonly maxConcurrentRequests: number
  readonly maxWebSockets: number
  readonly affinity: Affinity | undefined
  readonly rateLimit:
    | { readonly limiter: RateLimiter; readonly by: Affinity; readonly onFailure: 'allow' | 'refuse' }
    | undefined
  readonly timeouts: { readonly headers: number; readonly idle: number }
}

const known: readonly (keyof GatewayRouteOptions)[] = [
  'name',
  'path',
  'upstreams',
  'stripPrefix',
  'upstreamPath',
  'websocket',
  'maxRequestSize',
  'maxConcurrentRequests',
  'maxWebSockets',
  'affinity',
  'rateLimit',
  'timeouts',
]

/** What the client's path has in front of the one that the upstream is asked for; empty where it is no prefix of it. */
export function prefixOf({ path, stripPrefix, upstreamPath }: ResolvedRoute): string {
  return stripPrefix && upstreamPath === '/' ? path.slice(0, -1) : ''
}

/** @throws TypeError naming what is wrong with the route. */
export function resolveRoute(
  options: GatewayRouteOptions,
  timeouts: { readonly headers: number; readonly idle: number },
  path: string,
): ResolvedRoute {
  refuseUnknownKeys(options, known, path)
  if (typeof options.name !== 'string' || !/^[a-z][a-z0-9-]*$/.test(options.name)) {
    throw new TypeError(
      `${path}.name: ${JSON.stringify(options.name)} is not a name of lower case letters, digits and dashes.`,
    )
  }
  if (
    typeof options.path !== 'string' ||
    !/^\/(?:[a-zA-Z0-9_~-]+\/|\.(?!\.?\/)[a-zA-Z0-9_.~-]*\/)*$/.test(options.path)
  ) {
    throw new TypeError(
      `${path}.path: ${JSON.stringify(options.path)} is not a path such as "/api/media/", with a slash at both ends.`,
    )
  }
  if (!Array.isArray(options.upstreams) || options.upstreams.length === 0) {
    throw new TypeError(`${path}.upstreams: give at least one origin, e.g. "http://127.0.0.1:3002".`)
  }
  const upstreams = options.upstreams.map((upstream, index) =>
    resolveUpstream(upstream, `${path}.upstreams[${index}]`),
  )
  refuseUnknownKeys(options.timeouts ?? {}, ['headers', 'idle'], `${path}.timeouts`)
  return {
    name: options.name,
    path: options.path,
    upstreams,
    stripPrefix: options.stripPrefix ?? routeDefaults.stripPrefix,
    upstreamPath: resolveUpstreamPath(options, `${path}.upstreamPath`),
    websocket: options.websocket ?? routeDefaults.websocket,
    maxRequestSize:
      options.maxRequestSize === undefined
        ? routeDefaults.maxRequestSize
        : parseSize(options.maxRequestSize, `${path}.maxRequestSize`),
    maxConcurrentRequests: limitOf('maxConcurrentRequests', options, path),
    maxWebSockets: limitOf('maxWebSockets', options, path),
    affinity:
      options.affinity === undefined ? undefined : resolveAffinity(options.affinity, `${path}.affinity`),
    rateLimit: options.rateLimit && resolveRateLimit(options.rateLimit, `${path}.rateLimit`),
    timeouts: {
      headers:
        options.timeouts?.headers === undefined
          ? timeouts.headers
          : parseDuration(options.timeouts.headers, `${path}.timeouts.headers`),
      idle:
        options.timeouts?.idle === undefined
          ? timeouts.idle
          : parseDuration(options.timeouts.idle, `${path}.timeouts.idle`),
    },
  }
}

function resolveUpstreamPath({ upstreamPath, stripPrefix }: GatewayRouteOptions, path: string): string {
  if (upstreamPath === undefined) return routeDefaults.upstreamPath
  if (stripPrefix === false) throw new TypeError(`${path}: has no effect where stripPrefix is false.`)
  if (
    typeof upstreamPath === 'string' &&
    /^\/(?:(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._~-]+(?:\/|$))*$/.test(upstreamPath)
  )
    return upstreamPath
  throw new TypeError(`${path}: ${JSON.stringify(upstreamPath)} is not a path such as "/ws".`)
}

function limitOf(
  key: 'maxConcurrentRequests' | 'maxWebSockets',
  options: GatewayRouteOptions,
  path: string,
): number {
  const limit = options[key] ?? routeDefaults[key]
  if (Number.isInteger(limit) && limit >= 1) return limit
  throw new TypeError(`${path}.${key}: ${JSON.stringify(limit)} is not a whole number above 0.`)
}

function resolveUpstream(options: string | UpstreamOptions, path: string): ResolvedUpstream {
  const { url, weight = 1 } = typeof options === 'string' ? { url: options } : options
  if (typeof options !== 'string') refuseUnknownKeys(options, ['url', 'weight'], path)
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (
    !parsed ||
    !/^https?:$/.test(parsed.protocol) ||
    (parsed.pathname !== '/' && parsed.pathname !== '') ||
    parsed.search ||
    parsed.hash ||
    parsed.username
  ) {
    throw new TypeError(
      `${path}: ${JSON.stringify(url)} is not an origin such as "http://127.0.0.1:3002", without a path.`,
    )
  }
  if (!(Number.isFinite(weight) && weight >= 0))
    throw new TypeError(`${path}.weight: ${JSON.stringify(weight)} is not a number from 0.`)
  return { url: parsed.origin, weight }
}

function resolveAffinity(value: Affinity, path: string): Affinity {
  if (value === 'tenant' || value === 'client') return value
  if (typeof value === 'object' && value !== null) {
    if ('header' in value && typeof value.header === 'string') return { header: value.header.toLowerCase() }
    if ('cookie' in value && typeof value.cookie === 'string') return { cookie: value.cookie }
  }
  throw new TypeError(`${path}: must be 'tenant', 'client', { header } or { cookie }.`)
}

function resolveRateLimit(options: RateLimitOptions, path: string): NonNullable<ResolvedRoute['rateLimit']> {
  refuseUnknownKeys(options, ['limiter', 'by', 'onFailure'], path)
  if (typeof options.limiter?.consume !== 'function')
    throw new TypeError(`${path}.limiter: needs a consume(key) method.`)
  const onFailure = options.onFailure ?? 'allow'
  if (onFailure !== 'allow' && onFailure !== 'refuse')
    throw new TypeError(`${path}.onFailure: must be 'allow' or 'refuse'.`)
  return { limiter: options.limiter, by: resolveAffinity(options.by ?? 'client', `${path}.by`), onFailure }
}
