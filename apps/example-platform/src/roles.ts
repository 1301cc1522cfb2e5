import { databaseRoles, type DatabaseRoles } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'

/** The roles of the database in which a migration runs. */
export async function rolesHere(db: Kysely<unknown>): Promise<DatabaseRoles> {
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(db)
  return databaseRoles(rows[0]?.name ?? '')
}

/** Gives tables to the system's login alone: tenants have no right to them. For use in a migration. */
export async function keepToSystem(db: Kysely<unknown>, tables: readonly string[]): Promise<void> {
  const system = sql.id((await rolesHere(db)).system)
  for (const table of tables.map((name) => sql.id(name))) {
    await sql`alter table ${table} enable row level security, force row level security`.execute(db)
    await sql`create policy system_alone on ${table} for all to ${system} using (true) with check (true)`.execute(
      db,
    )
    await sql`grant select, insert, update, delete on ${table} to ${system}`.execute(db)
  }
}
