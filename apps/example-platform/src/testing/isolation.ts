import { type TablePolicy } from '@quintet/rls'
import { lintCatalogue } from '@quintet/rls/catalogue'
import { runAttackMatrix, type AttackMatrixOptions } from '@quintet/rls/testing'
import { Client } from 'pg'
import type { AppDatabase } from './app-database.ts'

/** What is wrong with the isolation of an app's tenants: attempts that came out otherwise than promised, and findings of the lint. */
export async function findIsolationFlaws(
  database: AppDatabase,
  policies: readonly TablePolicy[],
  tables: AttackMatrixOptions['tables'] = {},
  {
    ignore = [],
    withoutTriggers = [],
  }: {
    /** Findings of the lint that are meant, `rule:object`. */
    readonly ignore?: readonly string[]
    /** Tables whose triggers stand still: the policies are tried, and not what else keeps rows as they are. */
    readonly withoutTriggers?: readonly string[]
  } = {},
): Promise<readonly string[]> {
  const owner = new Client({ connectionString: database.ownerUrl })
  await owner.connect()
  try {
    for (const table of withoutTriggers)
      await owner.query(`alter table ${owner.escapeIdentifier(table)} disable trigger user`)
    const { failures } = await runAttackMatrix({ pool: database.pool, policies, tables })
    const findings = await lintCatalogue(owner, {
      tenantRoles: [database.tenantRole],
      // Tenants have no right to either table. What the system tells of belongs to no tenant; ids of sessions are random.
      ignore: [
        'nullable-tenant:public.outbox',
        'unique-across-tenants:public.auth_sessions.auth_sessions_pkey',
        ...ignore,
      ],
    })
    return [
      ...failures.map(
        ({ table, operation, actor, expected, actual, reason }) =>
          `${table}: ${operation} by ${actor} was "${actual}", not "${expected}" (${reason ?? ''})`,
      ),
      ...findings.map(({ severity, rule, object, message }) => `${severity} ${rule}: ${object}: ${message}`),
    ]
  } finally {
    await owner.end()
  }
}
