import type { CatalogueGrant } from '../catalogue/catalogue.ts'
import type {
  ContainerSecurity,
  FunctionSecurity,
  PolicySnapshot,
  RelationSecurity,
  RoleSecurity,
} from '../catalogue/policy-snapshot.ts'

/**
 * A snapshot as text with one policy, grant or membership per line, to be kept in the repository and compared in CI.
 * Functions that run with the rights of who calls them are left out.
 */
export function formatPolicySnapshot(snapshot: PolicySnapshot): string {
  const { relations, functions, containers, roles, defaultGrants } = snapshot
  const lines = [
    ...Object.entries(relations).flatMap(([name, relation]) => relationLines(name, relation)),
    ...Object.entries(functions)
      .filter(([, { securityDefiner }]) => securityDefiner)
      .flatMap(([name, one]) => functionLines(name, one)),
    ...Object.entries(containers).flatMap(([name, container]) => containerLines(name, container)),
    ...Object.entries(roles).map(([name, role]) => roleLine(name, role)),
    ...Object.entries(defaultGrants).flatMap(([name, grants]) => [
      `tables that ${name} creates:`,
      ...grants.map(grantLine),
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function containerLines(name: string, { owner, grants }: ContainerSecurity): readonly string[] {
  return [`${name === 'database' ? name : `schema ${name}`}: of ${owner}`, ...grants.map(grantLine)]
}

function roleLine(name: string, { attributes, memberOf }: RoleSecurity): string {
  const rights = [...attributes, ...memberOf.map((group) => `member of ${group}`)]
  return `role ${name}: ${rights.join(', ') || 'no rights of its own'}`
}

function grantLine({ grantee, privilege }: CatalogueGrant): string {
  return `  grant ${privilege} to ${grantee}`
}

function relationLines(name: string, relation: RelationSecurity): readonly string[] {
  return [
    `${name}: ${describe(relation)}`,
    ...relation.policies.map(
      ({ name: policy, permissive, command, roles, using, check }) =>
        `  policy ${policy}: ${permissive ? '' : 'restrictive '}${command} for ${roles.join(', ')}` +
        `${using === null ? '' : ` using ${oneLine(using)}`}${check === null ? '' : ` check ${oneLine(check)}`}`,
    ),
    ...relation.grants.map(grantLine),
    ...relation.columnGrants.map(
      ({ grantee, privilege, column }) => `  grant ${privilege} (${column}) to ${grantee}`,
    ),
  ]
}

function describe({
  kind,
  owner,
  rowSecurity,
  forced,
  securityInvoker,
  definition,
}: RelationSecurity): string {
  if (kind === 'table')
    return `${rowSecurity ? 'row-level security' : 'NO ROW-LEVEL SECURITY'}, ${forced ? 'forced' : 'NOT FORCED'}`
  const rights = kind === 'view' && securityInvoker ? 'the rights of who reads it' : `the rights of ${owner}`
  return `${kind} with ${rights}${definition === null ? '' : `, ${oneLine(definition).trim()}`}`
}

function functionLines(
  name: string,
  { owner, grantees, tables, digest }: FunctionSecurity,
): readonly string[] {
  return [
    `${name}: function with the rights of ${owner}, sha256 ${digest}`,
    ...grantees.map((grantee) => `  grant execute to ${grantee}`),
    ...tables.map((table) => `  trigger on ${table}`),
  ]
}

function oneLine(expression: string): string {
  return expression.replaceAll(/\s+/g, ' ')
}
