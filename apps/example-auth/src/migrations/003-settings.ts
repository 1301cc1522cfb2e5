import { settingsSchemaSql } from '@quintet/core/settings'
import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

const tables = ['quintet_settings', 'quintet_settings_history', 'quintet_settings_version']

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(settingsSchemaSql).execute(db)
  await applyPolicies(db, tables.map(systemOnlyPolicy), await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of tables) await sql`drop table ${sql.id(table)}`.execute(db)
}
