import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { parseAddressList, type AddressList } from '../address-list.ts'

export interface MaintenanceOptions {
  /** Reads the flags; an ioredis client fits. It stays its owner's. */
  readonly redis: MaintenanceRedis
  /**
   * What the keys start with: `<prefix>` for everything, `<prefix>:<route name>` for one app, and
   * `<prefix>:tenants` for a list of tenant ids, separated by commas. @defaultValue `'platform:maintenance'`
   */
  readonly prefix?: string
  /** How often the flags are read. @defaultValue `'1s'` */
  readonly interval?: Duration
  /** How long one reading may take. @defaultValue `'500ms'` */
  readonly timeout?: Duration
  /** How long the last known flags hold while Redis does not answer. Then the gateway opens. @defaultValue `'300s'` */
  readonly holdFor?: Duration
  /** What clients are told in `Retry-After`. @defaultValue `'60s'` */
  readonly retryAfter?: Duration
  /** Who is let through all the same. */
  readonly allow?: MaintenanceAllowance
}

export interface MaintenanceAllowance {
  /** Client addresses and networks, e.g. `10.0.0.0/8`. */
  readonly addresses?: readonly string[]
  /** Who sends this in `x-maintenance-token`. At least 16 characters. The header never reaches an app. */
  readonly token?: string
}

export interface MaintenanceRedis {
  mget(keys: string[]): Promise<(string | null)[]>
}

export const maintenanceDefaults = Object.freeze({
  prefix: 'platform:maintenance',
  interval: '1s',
  timeout: '500ms',
  holdFor: '300s',
  retryAfter: '60s',
} as const)

export interface ResolvedMaintenance {
  readonly redis: MaintenanceRedis
  readonly prefix: string
  readonly interval: number
  readonly timeout: number
  readonly holdFor: number
  readonly retryAfter: number
  readonly allow: { readonly addresses: AddressList; readonly token: string | undefined }
}

/** @throws TypeError */
export function resolveMaintenance(options: MaintenanceOptions, path: string): ResolvedMaintenance {
  refuseUnknownKeys(
    options,
    ['redis', 'prefix', 'interval', 'timeout', 'holdFor', 'retryAfter', 'allow'],
    path,
  )
  if (typeof options.redis?.mget !== 'function')
    throw new TypeError(`${path}.redis: needs an mget(keys) method, e.g. an ioredis client.`)
  refuseUnknownKeys(options.allow ?? {}, ['addresses', 'token'], `${path}.allow`)
  const token = options.allow?.token
  if (token !== undefined && token.length < 16)
    throw new TypeError(`${path}.allow.token: needs at least 16 characters.`)
  const interval = parseDuration(options.interval ?? maintenanceDefaults.interval, `${path}.interval`)
  if (interval < 10) throw new TypeError(`${path}.interval: must be 10 ms or more.`)
  return {
    redis: options.redis,
    prefix: options.prefix ?? maintenanceDefaults.prefix,
    interval,
    timeout: parseDuration(options.timeout ?? maintenanceDefaults.timeout, `${path}.timeout`),
    holdFor: parseDuration(options.holdFor ?? maintenanceDefaults.holdFor, `${path}.holdFor`),
    retryAfter: parseDuration(options.retryAfter ?? maintenanceDefaults.retryAfter, `${path}.retryAfter`),
    allow: { addresses: parseAddressList(options.allow?.addresses ?? [], `${path}.allow.addresses`), token },
  }
}
