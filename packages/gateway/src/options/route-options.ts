import type { Duration, Size } from '@quintet/core'
import { option, type Option, type ResolvedOptions } from '@quintet/core/kit'
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

/** A token (RFC 9110, section 5.6.2): the name of a header or cookie. */
const token = /^[!#$%&'*+.^_`|~\w-]+$/

const affinity: Option<Affinity> = option.parsed('an affinity', (given, path) => {
  if (given === 'tenant' || given === 'client') return given
  const [entry, ...more] = typeof given === 'object' && given !== null ? Object.entries(given) : []
  const [kind, name] = entry ?? []
  if (more.length === 0 && typeof name === 'string' && token.test(name)) {
    if (kind === 'header') return { header: name.toLowerCase() }
    if (kind === 'cookie') return { cookie: name }
  }
  throw new TypeError(`${path}: must be 'tenant', 'client', { header } or { cookie }, with the name of one.`)
})

const upstreamSpec = {
  /** The origin, e.g. `http://127.0.0.1:3002`. */
  url: option.url(undefined, { protocols: ['http:', 'https:'], origin: true }).map(({ origin }) => origin),
  weight: option.number(1, { min: 0 }),
}

export type ResolvedUpstream = ResolvedOptions<typeof upstreamSpec>

const upstreamPath = option.text(undefined, {
  pattern: /^\/(?:(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._~-]+(?:\/|$))*$/,
  expected: 'a path such as "/ws"',
})

const rateLimitSpec = {
  limiter: option.collaborator<RateLimiter>(['consume'], 'a limiter with a consume(key) method'),
  by: affinity.or('client'),
  onFailure: option.oneOf(['allow', 'refuse'], 'allow'),
}

export type ResolvedRateLimit = ResolvedOptions<typeof rateLimitSpec>

const spec = {
  name: option.text(undefined, {
    pattern: /^[a-z][a-z0-9-]*$/,
    expected: 'a name of lower case letters, digits and dashes',
  }),
  path: option.text(undefined, {
    pattern: /^\/(?:[a-zA-Z0-9_~-]+\/|\.(?!\.?\/)[a-zA-Z0-9_.~-]*\/)*$/,
    expected: 'a path such as "/api/media/", with a slash at both ends',
  }),
  upstreams: option.list(option.nested(upstreamSpec, { shorthand: 'url' }), { min: 1 }),
  stripPrefix: option.boolean(routeDefaults.stripPrefix),
  upstreamPath: upstreamPath.optional(),
  websocket: option.boolean(routeDefaults.websocket),
  maxRequestSize: option.size(routeDefaults.maxRequestSize),
  maxConcurrentRequests: option.count(routeDefaults.maxConcurrentRequests, { min: 1 }),
  maxWebSockets: option.count(routeDefaults.maxWebSockets, { min: 1 }),
  affinity: affinity.optional(),
  rateLimit: option.nested(rateLimitSpec).optional(),
  timeouts: option.nested({ headers: option.delay().optional(), idle: option.delay().optional() }),
}

/** A route whose time limits are those of the gateway where it has none of its own. */
export type RouteSettings = Omit<ResolvedOptions<typeof spec>, 'upstreamPath'> & {
  readonly upstreamPath: string
}

export type ResolvedRoute = Omit<RouteSettings, 'timeouts'> & {
  readonly timeouts: { readonly headers: number; readonly idle: number }
}

export const routeOption: Option<RouteSettings> = option.nested(spec).map((route, path) => {
  if (route.upstreamPath !== undefined && !route.stripPrefix)
    throw new TypeError(`${path}.upstreamPath: has no effect where stripPrefix is false.`)
  return { ...route, upstreamPath: route.upstreamPath ?? routeDefaults.upstreamPath }
})

/** What the client's path has in front of the one that the upstream is asked for; empty where it is no prefix of it. */
export function prefixOf({ path, stripPrefix, upstreamPath }: ResolvedRoute): string {
  return stripPrefix && upstreamPath === '/' ? path.slice(0, -1) : ''
}
