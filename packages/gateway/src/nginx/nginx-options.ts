import { isIP } from 'node:net'
import type { Duration } from '@quintet/core'
import { option, readOptions, type NoteProblem, type Option } from '@quintet/core/kit'
import { maintenanceDefaults, type MaintenanceAllowance } from '../maintenance/maintenance-options.ts'
import {
  checkRoutes,
  sharedSpec,
  withTimeouts,
  type GatewayOptions,
  type Timeouts,
} from '../options/gateway-options.ts'
import type { GatewayRouteOptions, ResolvedRoute, RouteSettings } from '../options/route-options.ts'

/** The options of the gateway that nginx has an equivalent for. */
export interface NginxOptions extends Pick<
  GatewayOptions,
  | 'host'
  | 'port'
  | 'trustedProxies'
  | 'timeouts'
  | 'maxHeaderSize'
  | 'maxResponseHeaderSize'
  | 'maxConnections'
  | 'retries'
  | 'securityHeaders'
> {
  /** A limiter is code and cannot be generated: limit with `limit_req` where you need it. */
  readonly routes: readonly Omit<GatewayRouteOptions, 'rateLimit'>[]
  readonly maintenance?: NginxMaintenanceOptions
  /** Absolute paths of modules to load, where Lua is not built in: on Debian ndk_http_module.so and ngx_http_lua_module.so. */
  readonly modules?: readonly string[]
  /** The file of certificates by which `https:` upstreams are verified. @defaultValue `'/etc/ssl/certs/ca-certificates.crt'` */
  readonly trustedCertificates?: string
  /** @defaultValue `'auto'` */
  readonly workers?: number | 'auto'
}

export interface NginxMaintenanceOptions {
  /** Where the flags are. A host that is a name needs `resolver`. */
  readonly redis: {
    readonly host: string
    readonly port: number
    /** @defaultValue 0 */
    readonly database?: number
    /** The environment variable of nginx that holds the password. */
    readonly passwordFrom?: string
  }
  /** The address of a DNS server. */
  readonly resolver?: string
  readonly prefix?: string
  readonly interval?: Duration
  readonly timeout?: Duration
  readonly holdFor?: Duration
  readonly retryAfter?: Duration
  /** Here the token comes from an environment variable of nginx, so that it is in no file. */
  readonly allow?: Pick<MaintenanceAllowance, 'addresses'> & { readonly tokenFrom?: string }
}

export interface ResolvedNginxMaintenance {
  readonly redis: {
    readonly host: string
    readonly port: number
    readonly database: number
    readonly passwordFrom: string | undefined
  }
  readonly resolver: string | undefined
  readonly prefix: string
  readonly interval: number
  readonly timeout: number
  readonly holdFor: number
  readonly retryAfter: number
  readonly addresses: readonly string[]
  readonly tokenFrom: string | undefined
}

export interface ResolvedNginxOptions {
  readonly routes: readonly ResolvedRoute[]
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly timeouts: Timeouts
  readonly maxHeaderSize: number
  readonly maxResponseHeaderSize: number
  readonly maxConnections: number
  readonly retries: { readonly attempts: number } | undefined
  /** Flat name and value pairs. */
  readonly securityHeaders: readonly string[]
  readonly maintenance: ResolvedNginxMaintenance | undefined
  readonly modules: readonly string[]
  readonly trustedCertificates: string
  readonly workers: number | 'auto'
}

/** What is written between quotes must not be able to end them, nor name a variable. */
const quotable = {
  pattern: /^[^"\\\n\r$;{}]+$/,
  expected: 'a text that can be written into a configuration: without any of "\\$;{} and in one line',
} as const

const variableName = option
  .text(undefined, { pattern: /^[A-Za-z_]\w*$/, expected: 'the name of an environment variable' })
  .optional()

const maintenance: Option<ResolvedNginxMaintenance> = option
  .nested({
    redis: option.nested({
      host: option.host(),
      port: option.count(undefined, { min: 1, max: 65_535 }),
      database: option.count(0, { max: 1_000 }),
      passwordFrom: variableName,
    }),
    resolver: option.host().optional(),
    prefix: option.text(maintenanceDefaults.prefix, quotable),
    interval: option.delay(maintenanceDefaults.interval, { min: 10 }),
    timeout: option.delay(maintenanceDefaults.timeout, { min: 1 }),
    holdFor: option.duration(maintenanceDefaults.holdFor),
    retryAfter: option.duration(maintenanceDefaults.retryAfter),
    allow: option.nested({ addresses: option.list(option.address()), tokenFrom: variableName }),
  })
  .map(({ allow, ...rest }, path) => {
    if (isIP(rest.redis.host) === 0 && rest.resolver === undefined) {
      throw new TypeError(
        `${path}.resolver: nginx cannot look up ${JSON.stringify(rest.redis.host)} from Lua without one. Give a resolver, or an IP address.`,
      )
    }
    return { ...rest, ...allow }
  })

const spec = {
  ...sharedSpec,
  trustedProxies: option.list(option.address()),
  maintenance: maintenance.optional(),
  modules: option.list(option.text(undefined, quotable)),
  trustedCertificates: option.text('/etc/ssl/certs/ca-certificates.crt', quotable),
  workers: option.either(option.count(undefined, { min: 1, max: 1_024 }), option.oneOf(['auto'])).or('auto'),
}

/** @throws TypeError naming what is unknown, out of range, or without an equivalent in nginx. */
export function resolveNginxOptions(options: NginxOptions): ResolvedNginxOptions {
  const read = readOptions(options, spec, 'nginx', {
    check(settings, note) {
      checkRoutes(settings, note)
      checkEquivalents(settings, note)
    },
  })
  return {
    ...read,
    routes: withTimeouts(read.routes, read.timeouts),
    retries: read.retries || undefined,
  }
}

/** Notes what nginx has no equivalent for. */
function checkEquivalents(
  {
    routes,
    securityHeaders,
  }: { readonly routes: readonly RouteSettings[]; readonly securityHeaders: readonly string[] },
  note: NoteProblem,
): void {
  routes.forEach(({ rateLimit, upstreams, affinity }, index) => {
    const path = `routes[${index}]`
    if (rateLimit)
      note(`${path}.rateLimit`, 'is code and cannot be generated. Limit with limit_req where you need it.')
    const hosts = new Set(upstreams.map(({ url }) => new URL(url).hostname))
    const schemes = new Set(upstreams.map(({ url }) => new URL(url).protocol))
    if (schemes.size > 1 || (schemes.has('https:') && hosts.size > 1))
      note(
        `${path}.upstreams`,
        'must have one scheme, and with https one host name, by which nginx verifies them.',
      )
    const word =
      typeof affinity !== 'object'
        ? 'x'
        : 'header' in affinity
          ? affinity.header.replaceAll('-', '_')
          : affinity.cookie
    if (!/^\w+$/.test(word)) note(`${path}.affinity`, 'has a name that nginx has no variable for.')
  })
  const withVariable = securityHeaders.find((text) => text.includes('$'))
  if (withVariable !== undefined)
    note(
      'securityHeaders',
      `${JSON.stringify(withVariable)} cannot be written: "$" begins a variable of nginx.`,
    )
}
