import { databaseRoles, type DatabaseRoles } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'

/** The roles of the database in which a migration runs. */
export async function rolesHere(db: Kysely<unknown>): Promise<DatabaseRoles> {
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(db)
  return databaseRoles(rows[0]?.name ?? '')
}
