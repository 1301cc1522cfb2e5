import type { CatalogueFunction } from '../catalogue/catalogue.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'

/** Functions that work with their owner's rights, and that tenants call or set off by what they write. */
export function lintFunctions(subject: LintSubject): LintFinding[] {
  return subject.catalogue.functions
    .filter(({ securityDefiner }) => securityDefiner)
    .flatMap((one) => (one.trigger ? triggerFunction(one, subject) : calledFunction(one, subject)))
}

function calledFunction(one: CatalogueFunction, { isTenant }: LintSubject): LintFinding[] {
  const callers = one.grantees.filter(isTenant)
  if (callers.length === 0) return []
  return [
    {
      rule: 'security-definer',
      severity: 'error',
      object: one.name,
      message: `runs with the rights of ${one.owner} for ${callers.join(', ')}${trust(one)}. Make it SECURITY INVOKER or revoke EXECUTE.`,
    },
  ]
}

const writing = new Set(['insert', 'update', 'delete', 'truncate'])

/** A trigger fires for every role that may write the table; EXECUTE is not needed for it. */
function triggerFunction(one: CatalogueFunction, { catalogue, isTenant }: LintSubject): LintFinding[] {
  const written = catalogue.relations.filter(
    ({ name, grants, columnGrants }) =>
      one.tables.includes(name) &&
      [...grants, ...columnGrants].some(
        ({ grantee, privilege }) => isTenant(grantee) && writing.has(privilege),
      ),
  )
  if (written.length === 0) return []
  return [
    {
      rule: 'security-definer-trigger',
      severity: 'warning',
      object: one.name,
      message: `runs with the rights of ${one.owner} when tenants write ${written.map(({ name }) => name).join(', ')}${trust(one)}. Make it SECURITY INVOKER, or see that it touches rows of their own tenant only.`,
    },
  ]
}

function trust({ pinnedSearchPath }: CatalogueFunction): string {
  return pinnedSearchPath ? '' : ' and trusts the search_path of its caller'
}
