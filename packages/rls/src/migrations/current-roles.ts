import { sql, type Kysely } from 'kysely'
import { databaseRoles, type DatabaseRoles } from '../roles/database-roles.ts'

/**
 * The roles of the database that a migration runs in, by its name: what {@link databaseRoles} gives, so that one
 * migration serves every database it is run in.
 *
 * @throws TypeError where the name of the database is none that `provisionDatabase` takes.
 *
 * @example
 * import type { Kysely } from 'kysely'
 *
 * export async function up(db: Kysely<unknown>): Promise<void> {
 *   await applyPolicies(db, [tenantPolicy('notes')], await currentRoles(db))
 * }
 */
export async function currentRoles<Database>(db: Kysely<Database>): Promise<DatabaseRoles> {
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(db)
  return databaseRoles(rows[0]?.name ?? '')
}
