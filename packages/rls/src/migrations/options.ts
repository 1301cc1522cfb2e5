import { type Logger, silentLogger } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'

export interface MigratorOptions {
  /** URL of the login that owns the tables. Not through a PgBouncer in transaction mode. */
  readonly ownerUrl: string
  /** Folder with the migrations: `.sql`, or modules (`.ts`, `.js`) that export `up` and perhaps `down`. */
  readonly folder: string
  /** @defaultValue drops everything */
  readonly logger?: Logger
}

/** Where migrations are recorded. */
export const migratorDefaults = Object.freeze({
  schema: 'quintet',
  table: 'migration',
  lockTable: 'migration_lock',
} as const)

export interface ResolvedMigratorOptions {
  readonly ownerUrl: string
  readonly folder: string
  readonly logger: Logger
}

export function resolveMigratorOptions(options: MigratorOptions): ResolvedMigratorOptions {
  refuseUnknownKeys(options, ['ownerUrl', 'folder', 'logger'], 'createMigrator')
  for (const key of ['ownerUrl', 'folder'] as const) {
    if (typeof options[key] !== 'string' || options[key] === '') {
      throw new TypeError(`createMigrator.${key}: give a ${key === 'folder' ? 'folder' : 'URL'}.`)
    }
  }
  return { ownerUrl: options.ownerUrl, folder: options.folder, logger: options.logger ?? silentLogger }
}
