import type { CatalogueGrant, CatalogueRelation } from '../catalogue/catalogue.ts'
import type { LintFinding, LintRule, LintSubject } from './lint-rule.ts'

/** Privileges that no policy filters. */
const unchecked = new Set(['truncate', 'references', 'trigger', 'maintain'])

/** What a table, view or materialized view lets through by itself. */
export function lintTables({ catalogue, isTenant, tenantColumn }: LintSubject): LintFinding[] {
  return catalogue.relations.flatMap((relation) => {
    const open = [...relation.grants, ...relation.columnGrants].filter(({ grantee }) => isTenant(grantee))
    const found: LintFinding[] = []
    const report = (rule: LintRule, severity: LintFinding['severity'], message: string): void => {
      found.push({ rule, severity, object: relation.name, message })
    }
    if (isTenant(relation.owner)) {
      report('owner-is-tenant', 'error', `belongs to ${relation.owner}, who can turn row-level security off.`)
    }
    for (const [grantee, privileges] of byGrantee(open)) {
      const unfiltered = [...privileges].filter((privilege) => unchecked.has(privilege))
      if (grantee === 'public') {
        const all = [...privileges].join(', ')
        report('grant-to-public', 'error', `gives ${all} to everybody. Revoke it from PUBLIC.`)
      } else if (unfiltered.length > 0) {
        report(
          'unchecked-privilege',
          'error',
          `gives ${unfiltered.join(', ')} to ${grantee}, which no policy filters. Revoke it.`,
        )
      }
    }
    if (open.length > 0 && relation.rules.length > 0) {
      report(
        'rewrite-rule',
        'error',
        `has the rules ${relation.rules.join(', ')}, whose statements run with the rights of ${relation.owner}. Use a trigger.`,
      )
    }
    if (relation.kind === 'table') lintTable(relation, open.length > 0, tenantColumn, isTenant, report)
    else if (open.length > 0) lintView(relation, report)
    return found
  })
}

function byGrantee(grants: readonly CatalogueGrant[]): ReadonlyMap<string, ReadonlySet<string>> {
  const grouped = Map.groupBy(grants, ({ grantee }) => grantee)
  return new Map(
    [...grouped].map(([grantee, held]) => [grantee, new Set(held.map(({ privilege }) => privilege))]),
  )
}

type Report = (rule: LintRule, severity: LintFinding['severity'], message: string) => void

function lintTable(
  table: CatalogueRelation,
  open: boolean,
  tenantColumn: string,
  isTenant: (role: string) => boolean,
  report: Report,
): void {
  const column = table.columns.find(({ name }) => name === tenantColumn)
  if (!table.rowSecurity) {
    if (open || (column && !table.partition))
      report('rls-disabled', 'error', 'has no row-level security. Enable and force it, and add policies.')
    return
  }
  if (!table.forced)
    report('force-missing', 'error', 'does not FORCE row-level security, so its owner sees every row.')
  const admitted = table.policies.some(({ permissive, roles }) => permissive && roles.some(isTenant))
  if (open && !admitted) report('no-policy', 'warning', 'is granted to tenants, but no policy admits a row.')
  if (column && !column.notNull) {
    report(
      'nullable-tenant',
      'warning',
      `allows rows without ${tenantColumn}, which no tenant sees. Make it NOT NULL.`,
    )
  }
}

function lintView(view: CatalogueRelation, report: Report): void {
  if (view.kind === 'foreign-table') {
    report(
      'foreign-table',
      'error',
      'is a foreign table, which has no row-level security. Revoke it from tenants.',
    )
  } else if (view.kind === 'materialized-view') {
    report(
      'materialized-view',
      'error',
      'is a materialized view, which has no row-level security. Revoke it from tenants.',
    )
  } else if (!view.securityInvoker) {
    report('view-without-invoker', 'error', "reads with its owner's rights. Set security_invoker = true.")
  }
}
