import { diffPolicies } from '../catalogue/policy-diff.ts'
import { snapshotOf, type PolicySnapshot } from '../catalogue/policy-snapshot.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'

/** What the database has otherwise than it is declared. */
export function lintDrift({ catalogue, isTenant }: LintSubject, expected: PolicySnapshot): LintFinding[] {
  const roles = catalogue.roles.map(({ name }) => name)
  return diffPolicies(expected, snapshotOf(catalogue), {
    trustedRoles: roles.filter((role) => !isTenant(role)),
  }).map(({ class: kind, object, change }) => ({
    rule: 'policy-drift',
    severity: kind === 'dangerous' ? 'error' : 'warning',
    object,
    message: `is not as it is declared: ${change}.`,
  }))
}
