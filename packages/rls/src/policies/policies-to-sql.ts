import { hash } from 'node:crypto'
import type { DatabaseRoles } from '../roles/database-roles.ts'
import { quoteName, quoteTable, quoteText } from '../sql/sql-text.ts'
import { operations, type Operation, type TablePolicy } from './table-policy.ts'

/** The roles that policies are written for. */
export type PolicyRoles = Pick<DatabaseRoles, 'tenant' | 'system' | 'owner'>

/**
 * The statements that bring tables under the policies: row-level security on and forced, a policy per
 * rule, one for the system and owner logins, and the grants that the rules need. They can run again.
 *
 * Policies of one table add up: a row that one of them admits is admitted. What an earlier run has left is
 * dropped, and a permissive policy for tenants that is none of ours is refused by name, so that tenants have
 * exactly what is declared. Restrictive policies of your own stay: they admit nothing.
 */
export function policiesToSql(policies: readonly TablePolicy[], roles: PolicyRoles): readonly string[] {
  return [...byTable(policies)].flatMap(([table, rules]) => [
    dropOurs(table),
    ...protect(table, roles),
    ...rules.flatMap((rule) => admit(rule, roles)),
    refuseOthers(table, roles),
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

/** The comment by which a policy of ours is known. */
const mark = 'quintet'

/** Drops every policy that an earlier run has created, declared or not. */
function dropOurs(table: string): string {
  return `do $policies$
declare old name;
begin
  for old in select polname from pg_catalog.pg_policy where polrelid = ${quoteText(quoteTable(table))}::regclass
    and obj_description(oid, 'pg_policy') = '${mark}' loop
    execute format('drop policy %I on ${quoteTable(table).replaceAll("'", "''").replaceAll('%', '%%')}', old);
  end loop;
end $policies$`
}

/** Fails when a permissive policy that is none of ours admits rows to tenants. */
function refuseOthers(table: string, roles: PolicyRoles): string {
  return `do $policies$
declare others text;
begin
  select string_agg(polname, ', ' order by polname) into others from pg_catalog.pg_policy
  where polrelid = ${quoteText(quoteTable(table))}::regclass and polpermissive
    and coalesce(obj_description(oid, 'pg_policy'), '') <> '${mark}'
    and exists (
      select from unnest(polroles) held, pg_catalog.pg_roles tenant where tenant.rolname = ${quoteText(roles.tenant)}
        and case held when 0 then true else pg_catalog.pg_has_role(tenant.oid, held, 'MEMBER') end
    );
  if others is not null then
    raise exception 'the table % admits tenants by policies that are not declared: %', ${quoteText(table)}, others
      using hint = 'Drop them, or declare them with customPolicy.';
  end if;
end $policies$`
}

function create(name: string, table: string, rest: string): readonly string[] {
  const [policy, on] = [quoteName(name), quoteTable(table)]
  return [
    `drop policy if exists ${policy} on ${on}`,
    `create policy ${policy} on ${on} ${rest}`,
    `comment on policy ${policy} on ${on} is '${mark}'`,
  ]
}

function protect(table: string, roles: PolicyRoles): readonly string[] {
  const on = quoteTable(table)
  const logins = `${quoteName(roles.system)}, ${quoteName(roles.owner)}`
  return [
    `alter table ${on} enable row level security`,
    `alter table ${on} force row level security`,
    ...create(policyName(table, 'system'), table, `for all to ${logins} using (true) with check (true)`),
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
  return statementsOf(rule).flatMap(({ name, operation }) => {
    const using = operation === 'insert' ? '' : ` using (${rule.using})`
    const check = operation === 'select' || operation === 'delete' ? '' : ` with check (${rule.check})`
    return create(name, rule.table, `for ${operation} to ${quoteName(roles.tenant)}${using}${check}`)
  })
}

function grants(table: string, rules: readonly TablePolicy[], roles: PolicyRoles): readonly string[] {
  const opened = operations.filter((operation) => rules.some((rule) => rule.for.includes(operation)))
  const on = quoteTable(table)
  return [
    `revoke all on ${on} from public, ${quoteName(roles.tenant)}`,
    ...(opened.length === 0 ? [] : [`grant ${opened.join(', ')} on ${on} to ${quoteName(roles.tenant)}`]),
    `grant select, insert, update, delete on ${on} to ${quoteName(roles.system)}`,
  ]
}

/** The bytes of a name that PostgreSQL keeps. */
const maxName = 63

/** A name that would be cut ends with a hash, so that two rules of a table with a long name stay two policies. */
export function policyName(table: string, rule: string): string {
  const name = `${table.split('.').at(-1) ?? table}_${rule}`
  if (Buffer.byteLength(name) <= maxName) return name
  const end = `_${hash('sha256', name).slice(0, 8)}`
  let start = name
  while (Buffer.byteLength(start) > maxName - end.length) start = start.slice(0, -1)
  return start.toWellFormed() + end
}

/** The rules of each table; `public.notes` and `notes` are one. */
function byTable(policies: readonly TablePolicy[]): Map<string, TablePolicy[]> {
  const tables = new Map<string, TablePolicy[]>()
  const spellings = new Map<string, string>()
  for (const given of policies) {
    const plain = given.table.replace(/^public\./, '')
    const table = spellings.get(plain) ?? given.table
    spellings.set(plain, table)
    const policy = { ...given, table }
    const rules = tables.get(policy.table) ?? []
    if (rules.some((rule) => rule.name === policy.name)) {
      throw new TypeError(`${policy.table}: two policies are called ${policy.name}. Give one of them a name.`)
    }
    tables.set(policy.table, [...rules, policy])
  }
  for (const [table, rules] of tables) {
    if (rules.length > 1 && rules.some((rule) => rule.for.length === 0)) {
      throw new TypeError(`${table}: is for the system login alone, and yet another policy admits tenants.`)
    }
  }
  return tables
}
