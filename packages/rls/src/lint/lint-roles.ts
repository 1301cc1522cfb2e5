import type { Catalogue } from '../catalogue/catalogue.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'

/** Attributes by which a role passes every policy, or takes roles that do. */
const reasons: ReadonlyMap<string, string> = new Map([
  ['superuser', 'no policy holds for a superuser'],
  ['bypassrls', 'no policy holds for it'],
  ['createrole', 'it can take other roles and change their passwords'],
  ['replication', 'it can read every row'],
  ['createdb', 'it can copy a database'],
])

/** The roles that tenants work under: what they are, and what else they can become. */
export function lintRoles({ catalogue, isTenant }: LintSubject): LintFinding[] {
  return catalogue.roles
    .filter(({ name }) => isTenant(name))
    .flatMap(({ name, attributes, memberOf }): LintFinding[] => [
      ...attributes.map((attribute): LintFinding => ({
        rule: 'role-attribute',
        severity: 'error',
        object: name,
        message: `has ${attribute.toUpperCase()}: ${reasons.get(attribute) ?? 'it is more than a tenant'}. Take it away.`,
      })),
      ...memberOf
        .filter((role) => !isTenant(role))
        .map((role): LintFinding => {
          const further = reachable(role, catalogue)
          const others = further.length === 0 ? '' : `, and through it ${further.join(', ')}`
          return {
            rule: 'role-membership',
            severity: 'error',
            object: name,
            message: `can become ${role}${others}. Revoke it, or name it among the tenants' roles.`,
          }
        }),
    ])
}

/** The roles that one can become, by however many steps. */
function reachable(role: string, { roles }: Catalogue): readonly string[] {
  const found = new Set([role])
  for (const each of found) {
    for (const next of roles.find(({ name }) => name === each)?.memberOf ?? []) found.add(next)
  }
  found.delete(role)
  return [...found]
}
