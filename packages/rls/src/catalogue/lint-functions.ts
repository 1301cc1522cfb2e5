import type { LintFinding, LintSubject } from './lint-rule.ts'

/** Functions that work with their owner's rights. */
export function lintFunctions({ catalogue, isTenant }: LintSubject): LintFinding[] {
  return catalogue.functions
    .filter(({ securityDefiner }) => securityDefiner)
    .flatMap(({ name, owner, grantees, pinnedSearchPath }): LintFinding[] => {
      const callers = [...new Set(grantees.filter(isTenant))]
      if (callers.length === 0) return []
      const path = pinnedSearchPath ? '' : ' and trusts the search_path of its caller'
      return [
        {
          rule: 'security-definer',
          severity: 'error',
          object: name,
          message: `runs with the rights of ${owner} for ${callers.join(', ')}${path}. Make it SECURITY INVOKER or revoke EXECUTE.`,
        },
      ]
    })
}
