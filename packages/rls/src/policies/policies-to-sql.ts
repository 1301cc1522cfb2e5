import type { DatabaseRoles } from '../database-roles.ts'
import { quoteName, quoteTable } from '../sql-text.ts'
import { operations, type Operation, type TablePolicy } from './table-policy.ts'

/** The roles that policies are written for. */
export type PolicyRoles = Pick<DatabaseRoles, 'tenant' | 'system' | 'owner'>

/**
 * The statements that bring tables under the policies: row-level security on and forced, a policy per
 * rule, one for the system and owner logins, and the grants that the rules need. They can run again.
 *
 * Policies of one table add up: a row that one of them admits is admitted.
 */
export function policiesToSql(policies: readonly TablePolicy[], roles: PolicyRoles): readonly string[] {
  return [...byTable(policies)].flatMap(([table, rules]) => [
    ...protect(table, roles),
    ...rules.flatMap((rule) => admit(rule, roles)),
    ...grants(table, rules, roles),
  ])
}

/** The statements that take the policies away and leave the tables closed to tenants. */
export function policiesToDownSql(policies: readonly TablePolicy[], roles: PolicyRoles): readonly string[] {
  return [...byTable(policies)].flatMap(([table, rules]) => [
    `revoke all on ${quoteTable(table)} from ${quoteName(roles.tenant)}`,
    ...rules.flatMap((rule) =>
      statementsOf(rule).map(
        ({ name }) => `drop policy if exists ${quoteName(name)} on ${quoteTable(table)}`,
      ),
    ),
  ])
}

function protect(table: string, roles: PolicyRoles): readonly string[] {
  const on = quoteTable(table)
  const name = quoteName(policyName(table, 'system'))
  return [
    `alter table ${on} enable row level security`,
    `alter table ${on} force row level security`,
    `drop policy if exists ${name} on ${on}`,
    `create policy ${name} on ${on} for all to ${quoteName(roles.system)}, ${quoteName(roles.owner)} using (true) with check (true)`,
  ]
}

interface PolicyStatement {
  readonly name: string
  readonly operation: Operation | 'all'
}

/** One policy for all operations, or one for each. */
function statementsOf(rule: TablePolicy): readonly PolicyStatement[] {
  if (rule.for.length === operations.length) {
    return [{ name: policyName(rule.table, rule.name), operation: 'all' }]
  }
  return rule.for.map((operation) => ({
    name: policyName(rule.table, `${rule.name}_${operation}`),
    operation,
  }))
}

function admit(rule: TablePolicy, roles: PolicyRoles): readonly string[] {
  const on = quoteTable(rule.table)
  return statementsOf(rule).flatMap(({ name, operation }) => {
    const using = operation === 'insert' ? '' : ` using (${rule.using})`
    const check = operation === 'select' || operation === 'delete' ? '' : ` with check (${rule.check})`
    return [
      `drop policy if exists ${quoteName(name)} on ${on}`,
      `create policy ${quoteName(name)} on ${on} for ${operation} to ${quoteName(roles.tenant)}${using}${check}`,
    ]
  })
}

function grants(table: string, rules: readonly TablePolicy[], roles: PolicyRoles): readonly string[] {
  const opened = operations.filter((operation) => rules.some((rule) => rule.for.includes(operation)))
  const on = quoteTable(table)
  return [
    `revoke all on ${on} from public, ${quoteName(roles.tenant)}`,
    `grant ${opened.join(', ')} on ${on} to ${quoteName(roles.tenant)}`,
    `grant select, insert, update, delete on ${on} to ${quoteName(roles.system)}`,
  ]
}

export function policyName(table: string, rule: string): string {
  return `${table.split('.').at(-1) ?? table}_${rule}`.slice(0, 63)
}

function byTable(policies: readonly TablePolicy[]): Map<string, TablePolicy[]> {
  const tables = new Map<string, TablePolicy[]>()
  for (const policy of policies) {
    const rules = tables.get(policy.table) ?? []
    if (rules.some((rule) => rule.name === policy.name)) {
      throw new TypeError(`${policy.table}: two policies are called ${policy.name}. Give one of them a name.`)
    }
    tables.set(policy.table, [...rules, policy])
  }
  return tables
}
