import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'

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

export interface ResolvedMigratorOptions {
  readonly ownerUrl: string
  readonly folder: string
  /** In milliseconds. */
  readonly lockTimeout: number
  readonly lockAttempts: number
  readonly logger: Logger
}

export function resolveMigratorOptions(options: MigratorOptions): ResolvedMigratorOptions {
  refuseUnknownKeys(
    options,
    ['ownerUrl', 'folder', 'lockTimeout', 'lockAttempts', 'logger'],
    'createMigrator',
  )
  for (const key of ['ownerUrl', 'folder'] as const) {
    if (typeof options[key] !== 'string' || options[key] === '') {
      throw new TypeError(`createMigrator.${key}: give a ${key === 'folder' ? 'folder' : 'URL'}.`)
    }
  }
  const lockAttempts = options.lockAttempts ?? migratorDefaults.lockAttempts
  if (!Number.isInteger(lockAttempts) || lockAttempts < 1) {
    throw new TypeError(`createMigrator.lockAttempts: ${String(lockAttempts)} is no whole number from 1.`)
  }
  return {
    ownerUrl: options.ownerUrl,
    folder: options.folder,
    lockTimeout: parseDuration(
      options.lockTimeout ?? migratorDefaults.lockTimeout,
      'createMigrator.lockTimeout',
    ),
    lockAttempts,
    logger: options.logger ?? silentLogger,
  }
}
