import type { StandardSchemaV1 } from '@standard-schema/spec'
import { parseTimerDuration, type Duration } from '../options/duration.ts'
import { refuseUnknownKeys } from '../options/known-keys.ts'
import { silentLogger, type Logger } from '../logging/logger.ts'
import type { SettingsRedis } from './announcements.ts'
import type { SettingsPool } from './pool.ts'

export interface SettingsOptions<Schema extends StandardSchemaV1> {
  /** An object schema in which every setting has a default. Values are stored as JSON, as they were given. */
  readonly schema: Schema
  /** A `pg` pool on a database that has the tables of `settingsSchemaSql`; not one that is bound to a tenant. */
  readonly pool: SettingsPool
  /** Announces changes at once. Without it they are seen by polling alone. */
  readonly redis?: SettingsRedis
  /** Keeps several sets of settings in one database apart. @defaultValue `'default'` */
  readonly namespace?: string
  /** How often the version is looked at, so that a lost announcement is noticed. @defaultValue `'500ms'` */
  readonly pollInterval?: Duration
  readonly logger?: Logger
}

/** What applies where {@link SettingsOptions} says nothing. */
export const settingsDefaults = { namespace: 'default', pollInterval: '500ms' } as const

export interface ResolvedSettingsOptions {
  readonly schema: StandardSchemaV1
  readonly pool: SettingsPool
  readonly redis: SettingsRedis | undefined
  readonly namespace: string
  readonly pollInterval: number
  readonly logger: Logger
}

/** @throws TypeError when an option is unknown or makes no sense. */
export function resolveSettingsOptions(options: SettingsOptions<StandardSchemaV1>): ResolvedSettingsOptions {
  refuseUnknownKeys(
    options,
    ['schema', 'pool', 'redis', 'namespace', 'pollInterval', 'logger'],
    'createSettings',
  )
  const namespace = options.namespace ?? settingsDefaults.namespace
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(namespace)) {
    throw new TypeError(
      `createSettings.namespace: ${JSON.stringify(namespace)} must be lower-case letters, digits and "-".`,
    )
  }
  const pollInterval = parseTimerDuration(
    options.pollInterval ?? settingsDefaults.pollInterval,
    'createSettings.pollInterval',
  )
  if (pollInterval === 0) throw new TypeError('createSettings.pollInterval: must be longer than 0.')
  return {
    schema: options.schema,
    pool: options.pool,
    redis: options.redis,
    namespace,
    pollInterval,
    logger: options.logger ?? silentLogger,
  }
}
