import { sessionTablesSql } from '@quintet/auth/postgres'
import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

const tables = ['auth_sessions', 'auth_session_epochs']

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(sessionTablesSql()).execute(db)
  await applyPolicies(db, tables.map(systemOnlyPolicy), await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of tables) await sql`drop table ${sql.id(table)}`.execute(db)
}
