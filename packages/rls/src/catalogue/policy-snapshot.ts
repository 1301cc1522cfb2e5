import type { Queryable } from '../sql/queryable.ts'
import { policiesToSql, type PolicyRoles } from '../policies/policies-to-sql.ts'
import type { TablePolicy } from '../policies/table-policy.ts'
import { readCatalogue, type CatalogueGrant, type CataloguePolicy } from './catalogue.ts'

/** What decides who sees which rows of a table. */
export interface TableSecurity {
  readonly rowSecurity: boolean
  readonly forced: boolean
  readonly policies: readonly CataloguePolicy[]
  readonly grants: readonly CatalogueGrant[]
}

/** The security of every table by name. JSON, in a stable order: keep it in the repository and compare. */
export type PolicySnapshot = Readonly<Record<string, TableSecurity>>

export async function readPolicySnapshot(database: Queryable): Promise<PolicySnapshot> {
  const { relations } = await readCatalogue(database)
  return Object.fromEntries(
    relations
      .filter(({ kind }) => kind === 'table')
      .map(({ name, rowSecurity, forced, policies, grants }) => [
        name,
        { rowSecurity, forced, policies, grants },
      ]),
  )
}

/** A snapshot before and after policies are applied. */
export interface PolicyPlan {
  readonly before: PolicySnapshot
  readonly after: PolicySnapshot
}

/**
 * What the policies would change: applies them in a transaction, reads the result, and takes everything
 * back. Needs a connection of the owner login, as PostgreSQL itself normalizes the expressions.
 */
export async function planPolicies(
  owner: Queryable,
  policies: readonly TablePolicy[],
  roles: PolicyRoles,
): Promise<PolicyPlan> {
  await owner.query('begin')
  try {
    const before = await readPolicySnapshot(owner)
    for (const statement of policiesToSql(policies, roles)) await owner.query(statement)
    return { before, after: await readPolicySnapshot(owner) }
  } finally {
    await owner.query('rollback')
  }
}
