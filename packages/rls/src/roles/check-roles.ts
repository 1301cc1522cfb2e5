import type { Pool } from 'pg'
import { RlsError } from '../errors.ts'
import { askWithin } from '../sql/answer-within.ts'
import type { Queryable } from '../sql/queryable.ts'
import { knownFlaw } from './server-version.ts'

export interface CheckRolesOptions {
  /** The role that holds the tenants' rights. */
  readonly role: string
  /** Tables and views that tenants may use although they have no row-level security. */
  readonly unprotectedTables?: readonly string[]
}

/** What is not safe about a login, its role or the tables, one sentence each; empty when all is well. */
export async function checkRoles(
  database: Queryable,
  options: CheckRolesOptions,
): Promise<readonly string[]> {
  const { rows } = await database.query(rolesStatement, [options.role])
  const found = rows[0] as RolesRow
  const problems: string[] = []
  const flaw = knownFlaw(found.version)
  if (flaw !== undefined) problems.push(flaw)
  if (!found.role_exists) {
    problems.push(`The role ${options.role} does not exist. Create it, e.g. with provisionDatabase.`)
    return problems
  }
  for (const attribute of found.login_attributes) problems.push(`The login ${found.login} ${attribute}.`)
  for (const attribute of found.role_attributes) problems.push(`The role ${options.role} ${attribute}.`)
  if (!found.login_super) {
    if (found.login === options.role) {
      problems.push(
        `The login ${found.login} is the tenants' role itself: without a context it would have its rights.`,
      )
    } else if (!found.is_member) {
      problems.push(
        `The login ${found.login} is no member of ${options.role}: grant ${options.role} to ${found.login}.`,
      )
    } else if (found.inherits) {
      problems.push(
        `The login ${found.login} inherits the rights of ${options.role}, so it has them without a context: make it NOINHERIT.`,
      )
    }
    for (const other of found.powerful) {
      problems.push(
        `The login ${found.login} can become ${other}, which has an attribute, tables, policies or rights on the server of its own.`,
      )
    }
  }
  for (const table of found.owned) {
    problems.push(`The login or its role owns the table ${table}: an owner can turn row-level security off.`)
  }
  for (const { name, privileges } of found.unchecked) {
    problems.push(
      `Tenants may ${privileges.join(', ')} the table ${name}, which no policy holds: revoke it from ${options.role}.`,
    )
  }
  const allowed = new Set((options.unprotectedTables ?? []).map(qualified))
  for (const { name, kind } of found.open_tables) {
    if (!allowed.has(name)) problems.push(unprotected[kind](name))
  }
  if (!found.login_super && !found.inherits) {
    for (const name of found.of_login) {
      if (allowed.has(name)) continue
      problems.push(
        `The login ${found.login} has a right to ${name} by itself, so it has it without a context: grant to ${options.role} alone.`,
      )
    }
  }
  return problems
}

/** Milliseconds that the check may take; a server that is silent would otherwise hold up every statement behind it. */
const answeredWithin = 10_000

/**
 * @throws RlsError `ERR_RLS_UNSAFE_ROLES` with every problem in its message, `ERR_RLS_DATABASE_UNAVAILABLE` when the
 * database does not answer.
 */
export async function assertSafeRoles(pool: Pool, options: CheckRolesOptions): Promise<void> {
  const problems = await askWithin(pool, answeredWithin, (client) => checkRoles(client, options))
  if (problems.length === 0) return
  throw new RlsError(
    `The database is not safe for row-level security.\n${problems.map((line) => `- ${line}`).join('\n')}`,
    {
      code: 'ERR_RLS_UNSAFE_ROLES',
      kind: 'internal',
      details: { problems },
    },
  )
}

const unprotected = {
  table: (name: string) => `The table ${name} is open to tenants and has no row-level security.`,
  unforced: (name: string) => `The table ${name} has no FORCE ROW LEVEL SECURITY.`,
  view: (name: string) => `The view ${name} is open to tenants and reads with the rights of its owner.`,
  'materialized view': (name: string) =>
    `The materialized view ${name} is open to tenants and has no row-level security.`,
  'foreign table': (name: string) =>
    `The foreign table ${name} is open to tenants and has no row-level security.`,
} as const

function qualified(table: string): string {
  return table.includes('.') ? table : `public.${table}`
}

interface RolesRow {
  readonly login: string
  readonly version: number
  readonly role_exists: boolean
  readonly login_super: boolean
  readonly login_attributes: readonly string[]
  readonly role_attributes: readonly string[]
  readonly is_member: boolean
  readonly inherits: boolean
  readonly powerful: readonly string[]
  readonly owned: readonly string[]
  readonly open_tables: readonly { readonly name: string; readonly kind: keyof typeof unprotected }[]
  readonly of_login: readonly string[]
  readonly unchecked: readonly { readonly name: string; readonly privileges: readonly string[] }[]
}

/** What a role may do to row-level security by its attributes, each the end of a sentence. */
const attributesOf = (role: string): string => `array_remove(array[
  case when ${role}.rolsuper then 'is a superuser, for whom no policy holds' end,
  case when ${role}.rolbypassrls then 'has BYPASSRLS' end,
  case when ${role}.rolcreaterole then 'has CREATEROLE, so it can take other roles' end,
  case when ${role}.rolreplication then 'has REPLICATION, which reads every row' end], null)`

/** Whether a role has any right to what `tables` has: its own, one of everybody's or one that it inherits. */
const mayUse = (role: string): string => `case relkind
  when 'S' then has_sequence_privilege(${role}, tables.oid, 'USAGE, SELECT, UPDATE')
  else has_table_privilege(${role}, tables.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    or has_any_column_privilege(${role}, tables.oid, 'SELECT, INSERT, UPDATE') end`

const rolesStatement = `
with login as (select * from pg_roles where rolname = session_user),
role as (select * from pg_roles where rolname = $1),
tables as (
  select c.oid, c.relkind, c.relowner, n.nspname || '.' || c.relname as name, case
      when c.relkind in ('r', 'p') then case when not c.relrowsecurity then 'table' when not c.relforcerowsecurity then 'unforced' end
      when c.relkind = 'v' then case when not coalesce((select o.option_value::boolean from pg_options_to_table(c.reloptions) o
        where o.option_name = 'security_invoker'), false) then 'view' end
      when c.relkind = 'm' then 'materialized view' when c.relkind = 'f' then 'foreign table'
    end as unprotected
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname not in ('pg_catalog', 'information_schema', 'quintet')
    and n.nspname not like 'pg\\_t%' and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
),
owners as (select distinct relowner from tables)
select login.rolname as login,
  current_setting('server_version_num')::int as version,
  role.oid is not null as role_exists,
  login.rolsuper as login_super, ${attributesOf('login')} as login_attributes,
  ${attributesOf('role')} as role_attributes,
  coalesce(pg_has_role(login.oid, role.oid, 'MEMBER'), false) as is_member,
  coalesce(pg_has_role(login.oid, role.oid, 'USAGE'), false) as inherits,
  coalesce((
    select json_agg(r.rolname order by r.rolname) from pg_roles r
    where r.oid not in (login.oid, coalesce(role.oid, 0)) and pg_has_role(login.oid, r.oid, 'MEMBER')
      and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication or r.rolname like 'pg\\_%'
        or r.oid in (select relowner from owners)
        or exists (select from pg_policy p where p.polpermissive and r.oid = any(p.polroles)))
  ), '[]') as powerful,
  coalesce((select json_agg(name order by name) from tables where relowner in (login.oid, role.oid) and relkind <> 'S'), '[]') as owned,
  coalesce((
    select json_agg(json_build_object('name', name, 'kind', unprotected) order by name) from tables
    where role.oid is not null and unprotected is not null and ${mayUse('role.oid')}
  ), '[]') as open_tables,
  coalesce((
    select json_agg(name order by name) from tables where relowner <> login.oid and ${mayUse('login.oid')}
  ), '[]') as of_login,
  coalesce((
    select json_agg(json_build_object('name', name, 'privileges', privileges) order by name) from (
      select name, array(
        select privilege from unnest(array['TRUNCATE', 'TRIGGER', 'REFERENCES']) privilege
        where has_table_privilege(role.oid, tables.oid, privilege)
      ) as privileges from tables where role.oid is not null and relkind in ('r', 'p')
    ) held where cardinality(privileges) > 0
  ), '[]') as unchecked
from login left join role on true`
