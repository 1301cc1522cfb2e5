import { sessionTablesSql } from '@quintet/auth/postgres'
import { rolesHere } from '@quintet/example-platform/roles'
import { sql, type Kysely } from 'kysely'

const tables = ['auth_sessions', 'auth_session_epochs']

/** Sessions are the system's business alone: tenants have no right to these tables. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(sessionTablesSql()).execute(db)
  const system = sql.id((await rolesHere(db)).system)
  for (const table of tables.map((name) => sql.id(name))) {
    await sql`alter table ${table} enable row level security, force row level security`.execute(db)
    await sql`create policy system_alone on ${table} for all to ${system} using (true) with check (true)`.execute(
      db,
    )
    await sql`grant select, insert, update, delete on ${table} to ${system}`.execute(db)
  }
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of tables) await sql`drop table ${sql.id(table)}`.execute(db)
}
