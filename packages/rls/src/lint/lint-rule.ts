import type { Catalogue } from '../catalogue/catalogue.ts'

export type LintRule =
  | 'always-true'
  | 'column-cast'
  | 'create-privilege'
  | 'default-grant'
  | 'expression-index'
  | 'force-missing'
  | 'foreign-key-across-tenants'
  | 'foreign-table'
  | 'function-in-policy'
  | 'grant-to-public'
  | 'large-objects'
  | 'materialized-view'
  | 'no-policy'
  | 'nullable-tenant'
  | 'owner-is-tenant'
  | 'policy-drift'
  | 'policy-for-public'
  | 'policy-not-evaluated'
  | 'rewrite-rule'
  | 'rls-disabled'
  | 'role-attribute'
  | 'role-membership'
  | 'security-definer'
  | 'security-definer-trigger'
  | 'server-version'
  | 'setting-outside-subselect'
  | 'setting-without-nullif'
  | 'system-flag-in-policy'
  | 'system-function'
  | 'temporary-tables'
  | 'tenant-not-implied'
  | 'unchecked-privilege'
  | 'unindexed-foreign-key'
  | 'unindexed-policy-column'
  | 'unique-across-tenants'
  | 'view-without-invoker'

/** One thing that is wrong, or that will be slow. */
export interface LintFinding {
  readonly rule: LintRule
  /** `error`: rows may reach the wrong tenant. `warning`: slow, or one step from an error. */
  readonly severity: 'error' | 'warning'
  /** The table, policy, index or function. */
  readonly object: string
  readonly message: string
}

/** What the single rules work on. */
export interface LintSubject {
  readonly catalogue: Catalogue
  readonly isTenant: (role: string) => boolean
  readonly tenantRoles: readonly string[]
  readonly tenantColumn: string
}
