import { option, readOptions } from '@quintet/core/kit'
import { findBlockingDdl, type BlockingStatement } from './blocking-ddl.ts'
import { loadMigration, readMigrationFiles } from './migration-files.ts'
import { migratorOf } from './migrator.ts'
import { resolveMigratorOptions } from './options.ts'
import { withScratchDatabase } from './scratch-database.ts'
import { splitSql } from './split-sql.ts'

export interface CheckMigrationsOptions {
  /** A login that may create databases and roles. */
  readonly adminUrl: string
  /** The migrations. */
  readonly folder: string
  /** The names of those that are looked at, e.g. what is pending. @defaultValue all of them */
  readonly names?: readonly string[]
}

/** A statement of a migration that keeps an app which is serving from working. */
export interface MigrationFinding extends BlockingStatement {
  readonly migration: string
}

const spec = {
  adminUrl: option.text(),
  folder: option.text(),
  names: option.list(option.text()).optional(),
}

/**
 * Finds what blocks an app that is serving: runs the migrations in a fresh database, which is dropped, and looks at
 * every statement that they send, whether it stands in SQL or is made by a module. A migration with a line
 * `-- migrate:allow-blocking`, or `export const allowBlocking = true`, is left out.
 *
 * @throws RlsError `ERR_RLS_MIGRATION_FAILED` when one fails on an empty database.
 */
export async function checkMigrations(options: CheckMigrationsOptions): Promise<readonly MigrationFinding[]> {
  const { adminUrl, folder, names } = readOptions<CheckMigrationsOptions, typeof spec>(
    options,
    spec,
    'checkMigrations',
  )
  const statements = new Map<string, string[]>()
  await withScratchDatabase(adminUrl, async ({ ownerUrl }) => {
    const migrator = migratorOf(resolveMigratorOptions({ ownerUrl, folder }), (migration, statement) => {
      statements.set(migration, [...(statements.get(migration) ?? []), ...splitSql(statement)])
    })
    await migrator.up()
  })
  const findings: MigrationFinding[] = []
  for (const file of await readMigrationFiles(folder)) {
    if (names !== undefined && !names.includes(file.name)) continue
    if ((await loadMigration(file)).allowBlocking) continue
    const found = findBlockingDdl(statements.get(file.name) ?? [])
    findings.push(...found.map((each) => ({ migration: file.name, ...each })))
  }
  return findings
}

/** One line per finding, for a terminal. */
export function formatMigrationFindings(findings: readonly MigrationFinding[]): string {
  if (findings.length === 0) return 'Nothing blocks.'
  return findings
    .map(({ migration, table, message, rule }) => `${migration}: ${table}: ${message} (${rule})`)
    .join('\n')
}
