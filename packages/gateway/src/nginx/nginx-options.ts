import { isIP } from 'node:net'
import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { parseAddressList } from '../address-list.ts'
import { maintenanceDefaults, type MaintenanceAllowance } from '../maintenance/maintenance-options.ts'
import {
  resolveGatewayOptions,
  whole,
  type GatewayOptions,
  type ResolvedGatewayOptions,
} from '../options/gateway-options.ts'
import type { GatewayRouteOptions } from '../options/route-options.ts'

/** The options of the gateway that nginx has an equivalent for. */
export interface NginxOptions extends Pick<
  GatewayOptions,
  | 'host'
  | 'port'
  | 'trustedProxies'
  | 'timeouts'
  | 'maxHeaderSize'
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

export interface ResolvedNginxOptions extends Omit<ResolvedGatewayOptions, 'maintenance' | 'trustedProxies'> {
  readonly trustedProxies: readonly string[]
  readonly maintenance: ResolvedNginxMaintenance | undefined
  readonly modules: readonly string[]
  readonly trustedCertificates: string
  readonly workers: number | 'auto'
}

const own = ['maintenance', 'modules', 'trustedCertificates', 'workers'] as const
const shared = [
  'routes',
  'host',
  'port',
  'trustedProxies',
  'timeouts',
  'maxHeaderSize',
  'maxConnections',
  'retries',
  'securityHeaders',
] as const

/** @throws TypeError naming what is unknown, out of range, or without an equivalent in nginx. */
export function resolveNginxOptions(options: NginxOptions): ResolvedNginxOptions {
  refuseUnknownKeys(options, [...shared, ...own], 'nginx')
  const {
    maintenance,
    modules = [],
    trustedCertificates = '/etc/ssl/certs/ca-certificates.crt',
    workers = 'auto',
    ...rest
  } = options
  const resolved = resolveGatewayOptions(rest)
  const limited = resolved.routes.find((route) => route.rateLimit)
  if (limited)
    throw new TypeError(
      `nginx: the rate limit of the route ${JSON.stringify(limited.name)} is code and cannot be generated.`,
    )
  for (const value of [...modules, trustedCertificates, ...resolved.securityHeaders])
    assertQuotable(value, 'nginx')
  for (const { name, upstreams } of resolved.routes) {
    const hosts = new Set(upstreams.map(({ url }) => new URL(url).hostname))
    const schemes = new Set(upstreams.map(({ url }) => new URL(url).protocol))
    if (schemes.size > 1 || (schemes.has('https:') && hosts.size > 1))
      throw new TypeError(
        `nginx: the upstreams of the route ${JSON.stringify(name)} must have one scheme, and with https one host name, by which nginx verifies them.`,
      )
  }
  for (const { affinity, name } of resolved.routes) {
    const word =
      typeof affinity !== 'object'
        ? 'x'
        : 'header' in affinity
          ? affinity.header.replaceAll('-', '_')
          : affinity.cookie
    if (!/^\w+$/.test(word))
      throw new TypeError(
        `nginx: the affinity of the route ${JSON.stringify(name)} has a name that nginx has no variable for.`,
      )
  }
  if (workers !== 'auto') whole(workers, 1, 1_024, 'nginx.workers')
  return {
    ...resolved,
    trustedProxies: options.trustedProxies ?? [],
    maintenance: maintenance && resolveNginxMaintenance(maintenance, 'nginx.maintenance'),
    modules,
    trustedCertificates,
    workers,
  }
}

function resolveNginxMaintenance(options: NginxMaintenanceOptions, path: string): ResolvedNginxMaintenance {
  refuseUnknownKeys(
    options,
    ['redis', 'resolver', 'prefix', 'interval', 'timeout', 'holdFor', 'retryAfter', 'allow'],
    path,
  )
  refuseUnknownKeys(options.redis, ['host', 'port', 'database', 'passwordFrom'], `${path}.redis`)
  refuseUnknownKeys(options.allow ?? {}, ['addresses', 'tokenFrom'], `${path}.allow`)
  const { host, port, database = 0, passwordFrom } = options.redis
  if (isIP(host) === 0 && options.resolver === undefined) {
    throw new TypeError(
      `${path}.resolver: nginx cannot look up ${JSON.stringify(host)} from Lua without one. Give a resolver, or an IP address.`,
    )
  }
  parseAddressList(options.allow?.addresses ?? [], `${path}.allow.addresses`)
  for (const value of [host, options.resolver, options.prefix]) assertQuotable(value ?? '', path)
  for (const value of [passwordFrom, options.allow?.tokenFrom]) {
    if (value !== undefined && !/^[A-Za-z_]\w*$/.test(value))
      throw new TypeError(`${path}: ${JSON.stringify(value)} is no name of an environment variable.`)
  }
  const duration = (key: 'interval' | 'timeout' | 'holdFor' | 'retryAfter'): number =>
    parseDuration(options[key] ?? maintenanceDefaults[key], `${path}.${key}`)
  return {
    redis: {
      host,
      port: whole(port, 1, 65_535, `${path}.redis.port`),
      database: whole(database, 0, 1_000, `${path}.redis.database`),
      passwordFrom,
    },
    resolver: options.resolver,
    prefix: options.prefix ?? maintenanceDefaults.prefix,
    interval: duration('interval'),
    timeout: duration('timeout'),
    holdFor: duration('holdFor'),
    retryAfter: duration('retryAfter'),
    addresses: options.allow?.addresses ?? [],
    tokenFrom: options.allow?.tokenFrom,
  }
}

/** What is written between quotes must not be able to end them, nor name a variable. */
function assertQuotable(value: string, path: string): void {
  if (/["\\\n\r$;{}]/.test(value))
    throw new TypeError(`${path}: ${JSON.stringify(value)} cannot be written into a configuration.`)
}
