import type { Duration } from '@quintet/core'
import { parseAddressList } from '@quintet/core/http'
import { option, type Option, type ResolvedOptions, type SecretText } from '@quintet/core/kit'

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
  readonly token?: SecretText
}

export interface MaintenanceRedis {
  get(key: string): Promise<string | null>
}

export const maintenanceDefaults = Object.freeze({
  prefix: 'platform:maintenance',
  interval: '1s',
  timeout: '500ms',
  holdFor: '300s',
  retryAfter: '60s',
} as const)

const spec = {
  redis: option.collaborator<MaintenanceRedis>(
    ['get'],
    'a client of Redis with a get(key) method, e.g. one of ioredis',
  ),
  prefix: option.text(maintenanceDefaults.prefix),
  interval: option.delay(maintenanceDefaults.interval, { min: 10 }),
  timeout: option.delay(maintenanceDefaults.timeout, { min: 1 }),
  holdFor: option.duration(maintenanceDefaults.holdFor),
  retryAfter: option.duration(maintenanceDefaults.retryAfter),
  allow: option.nested({
    addresses: option.list(option.address()).map(parseAddressList),
    token: option.secretText({ minLength: 16 }).optional(),
  }),
}

export type ResolvedMaintenance = ResolvedOptions<typeof spec>

export const maintenanceOption: Option<ResolvedMaintenance> = option.nested(spec)
