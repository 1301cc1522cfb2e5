import { sql, type Kysely } from 'kysely'
import { RlsError } from '../errors.ts'
import type { MigrationFile } from './migration-files.ts'
import { migratorDefaults } from './options.ts'

/** One migration, in the folder or in the database or both. */
export interface MigrationStatus {
  readonly name: string
  /** `changed`: it ran with another content; `missing`: it ran, but its file is gone. */
  readonly state: 'applied' | 'pending' | 'changed' | 'missing'
  readonly appliedAt: Date | null
}

/** A migration that the database has. */
export interface AppliedMigration {
  readonly name: string
  readonly appliedAt: Date
  readonly checksum: string | null
}

/** Reads what has been applied; empty for a database that has never been migrated. */
export async function readApplied<Database>(db: Kysely<Database>): Promise<readonly AppliedMigration[]> {
  const { schema, table } = migratorDefaults
  const exists = await sql<{ found: boolean }>`
    select to_regclass(${`${schema}.${table}`}) is not null
      and to_regclass(${`${schema}.${table}_checksum`}) is not null as found`.execute(db)
  if (exists.rows[0]?.found !== true) return []
  const { rows } = await sql<{ name: string; timestamp: string; checksum: string | null }>`
    select m.name, m.timestamp, c.checksum
    from ${sql.table(`${schema}.${table}`)} m left join ${sql.table(`${schema}.${table}_checksum`)} c using (name)
    order by m.name`.execute(db)
  return rows.map(({ name, timestamp, checksum }) => ({ name, appliedAt: new Date(timestamp), checksum }))
}

/** Compares the folder with the database, by name. */
export function compareMigrations(
  files: readonly MigrationFile[],
  applied: readonly AppliedMigration[],
): readonly MigrationStatus[] {
  const inDatabase = new Map(applied.map((one) => [one.name, one]))
  const inFolder = new Set(files.map(({ name }) => name))
  const status = files.map(({ name, checksum }): MigrationStatus => {
    const known = inDatabase.get(name)
    if (known === undefined) return { name, state: 'pending', appliedAt: null }
    return { name, state: known.checksum === checksum ? 'applied' : 'changed', appliedAt: known.appliedAt }
  })
  const missing = applied
    .filter(({ name }) => !inFolder.has(name))
    .map(({ name, appliedAt }): MigrationStatus => ({ name, state: 'missing', appliedAt }))
  return [...status, ...missing].toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

/** @throws RlsError `ERR_RLS_MIGRATION_CHANGED` when a migration that ran is no longer what it was. */
export function refuseChanged(status: readonly MigrationStatus[]): void {
  const changed = status.filter(({ state }) => state === 'changed').map(({ name }) => name)
  if (changed.length === 0) return
  throw new RlsError(
    `The migrations ${changed.join(', ')} were changed after they had run. Restore them, and write a new migration for the change.`,
    { code: 'ERR_RLS_MIGRATION_CHANGED', kind: 'conflict', details: { changed } },
  )
}

export function namesOf(
  status: readonly MigrationStatus[],
  state: MigrationStatus['state'],
): readonly string[] {
  return status.filter((one) => one.state === state).map(({ name }) => name)
}

/** @throws RlsError `ERR_RLS_MIGRATION_CHANGED` when the file of a migration that ran is gone. */
export function refuseMissing(status: readonly MigrationStatus[]): void {
  const missing = namesOf(status, 'missing')
  if (missing.length === 0) return
  throw new RlsError(
    `The database has the migrations ${missing.join(', ')}, whose files are gone. Restore them, or let repair forget them.`,
    { code: 'ERR_RLS_MIGRATION_CHANGED', kind: 'conflict', details: { missing } },
  )
}

/** @throws RlsError `ERR_RLS_MIGRATION_ORDER` when one is pending that comes before one that ran. */
export function refuseOutOfOrder(status: readonly MigrationStatus[]): void {
  const last = status.findLast(({ state }) => state !== 'pending')?.name ?? ''
  const late = namesOf(status, 'pending').filter((name) => name < last)
  if (late.length === 0) return
  throw new RlsError(
    `The migrations ${late.join(', ')} come before ${last}, which has run. Rename them, so that they run after it.`,
    { code: 'ERR_RLS_MIGRATION_ORDER', kind: 'conflict', details: { late, last } },
  )
}
