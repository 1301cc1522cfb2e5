import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Duration } from '../options/duration.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions } from '../options/read-options.ts'
import { schemaOption } from '../options/schema-option.ts'
import type { Logger } from '../logging/logger.ts'
import type { RedisPublisher, RedisSubscriber, SettingsRedis } from './announcements.ts'
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

const settingsSpec = {
  schema: schemaOption(),
  pool: option.collaborator<SettingsPool>(['connect'], 'a pool of pg'),
  redis: option
    .nested({
      publisher: option.collaborator<RedisPublisher>(['publish'], 'a Redis client (ioredis)'),
      subscriber: option.collaborator<RedisSubscriber>(
        ['subscribe', 'unsubscribe', 'on', 'off'],
        'a Redis client (ioredis) of its own',
      ),
    })
    .optional(),
  namespace: option.name(settingsDefaults.namespace),
  pollInterval: option.delay(settingsDefaults.pollInterval, { min: 1 }),
  logger: option.logger(),
}

export type ResolvedSettingsOptions = ResolvedOptions<typeof settingsSpec>

/** @throws TypeError naming every option that is unknown or makes no sense. */
export function resolveSettingsOptions(options: SettingsOptions<StandardSchemaV1>): ResolvedSettingsOptions {
  return readOptions(options, settingsSpec, 'createSettings')
}
