import type { PolicySnapshot } from '../catalogue/policy-snapshot.ts'

/** A snapshot as text with one policy or grant per line, to be kept in the repository and compared in CI. */
export function formatPolicySnapshot(snapshot: PolicySnapshot): string {
  const lines = Object.entries(snapshot).flatMap(([table, { rowSecurity, forced, policies, grants }]) => [
    `${table}: ${rowSecurity ? 'row-level security' : 'NO ROW-LEVEL SECURITY'}, ${forced ? 'forced' : 'NOT FORCED'}`,
    ...policies.map(
      ({ name, permissive, command, roles, using, check }) =>
        `  policy ${name}: ${permissive ? '' : 'restrictive '}${command} for ${roles.join(', ')}` +
        `${using === null ? '' : ` using ${oneLine(using)}`}${check === null ? '' : ` check ${oneLine(check)}`}`,
    ),
    ...grants.map(({ grantee, privilege }) => `  grant ${privilege} to ${grantee}`),
  ])
  return `${lines.join('\n')}\n`
}

function oneLine(expression: string): string {
  return expression.replaceAll(/\s+/g, ' ')
}
