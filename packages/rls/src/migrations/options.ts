import type { Duration, Logger } from '@quintet/core'
import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'

export interface MigratorOptions {
  /** URL of the login that owns the tables. Not through a PgBouncer in transaction mode. */
  readonly ownerUrl: string
  /** Folder with the migrations: `.sql`, or modules (`.ts`, `.js`) that export `up` and perhaps `down`. */
  readonly folder: string
  /**
   * How long a migration in a transaction waits for a lock; statements of apps queue up behind it meanwhile.
   * @defaultValue `'3s'`
   */
  readonly lockTimeout?: Duration
  /** How often a migration that did not get a lock is tried altogether. @defaultValue 10 */
  readonly lockAttempts?: number
  /** @defaultValue drops everything */
  readonly logger?: Logger
}

/** Where migrations are recorded, and how long they wait. */
export const migratorDefaults = Object.freeze({
  schema: 'quintet',
  table: 'migration',
  lockTimeout: '3s',
  lockAttempts: 10,
} as const)

const spec = {
  ownerUrl: option.text(),
  folder: option.text(),
  lockTimeout: option.delay(migratorDefaults.lockTimeout),
  lockAttempts: option.count(migratorDefaults.lockAttempts, { min: 1 }),
  logger: option.logger(),
}

export type ResolvedMigratorOptions = ResolvedOptions<typeof spec>

export function resolveMigratorOptions(options: MigratorOptions): ResolvedMigratorOptions {
  return readOptions<MigratorOptions, typeof spec>(options, spec, 'createMigrator')
}
