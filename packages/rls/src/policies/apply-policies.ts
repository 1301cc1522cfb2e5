import { sql, type Kysely } from 'kysely'
import { policiesToSql, type PolicyRoles } from './policies-to-sql.ts'
import type { TablePolicy } from './table-policy.ts'

/** Runs the statements of {@link policiesToSql}, for use in a migration. */
export async function applyPolicies<Database>(
  db: Kysely<Database>,
  policies: readonly TablePolicy[],
  roles: PolicyRoles,
): Promise<void> {
  for (const statement of policiesToSql(policies, roles)) await sql.raw(statement).execute(db)
}
