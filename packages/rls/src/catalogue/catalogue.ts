import { largeObjectFunctions } from '../roles/large-objects.ts'
import type { Queryable } from '../sql/queryable.ts'
import { quoteText } from '../sql/sql-text.ts'

export interface CatalogueColumn {
  readonly name: string
  /** As `format_type` spells it. */
  readonly type: string
  /** The name in pg_type of what the driver is told: a domain's base type; null for a type that is no built-in one. */
  readonly wireType: string | null
  readonly notNull: boolean
  /** It has a default, is an identity or is generated, so an INSERT may leave it out. */
  readonly optional: boolean
  /** `always` and `stored` columns cannot be written. */
  readonly generated: 'never' | 'identity' | 'always' | 'stored'
  /** The labels, for a column of an enum type. */
  readonly labels: readonly string[] | null
}

export interface CataloguePolicy {
  readonly name: string
  readonly permissive: boolean
  readonly command: 'all' | 'select' | 'insert' | 'update' | 'delete'
  readonly roles: readonly string[]
  readonly using: string | null
  readonly check: string | null
}

export interface CatalogueIndex {
  readonly name: string
  /** The access method: `btree`, `gin` and so on. */
  readonly method: string
  readonly unique: boolean
  readonly primary: boolean
  /** The condition of a partial index. */
  readonly predicate: string | null
  /** It is a part of an index of the partitioned table. */
  readonly inherited: boolean
  /** Column names in order; null for an expression. */
  readonly columns: readonly (string | null)[]
}

export interface CatalogueForeignKey {
  readonly name: string
  readonly columns: readonly string[]
  readonly references: string
  readonly referencedColumns: readonly string[]
  /** It comes from the partitioned table, or points to a partition of the one that is referred to. */
  readonly inherited: boolean
}

export interface CatalogueGrant {
  readonly grantee: string
  readonly privilege: string
  /** It has been given WITH GRANT OPTION. */
  readonly grantable?: true
}

/** A privilege on a single column. */
export interface CatalogueColumnGrant extends CatalogueGrant {
  readonly column: string
}

/** A table, view, materialized view or foreign table as the database has it. Names are `schema.table`. */
export interface CatalogueRelation {
  readonly name: string
  readonly kind: 'table' | 'view' | 'materialized-view' | 'foreign-table'
  /** It is a part of a partitioned table, whose policies hold for whoever asks that one. */
  readonly partition: boolean
  readonly owner: string
  readonly rowSecurity: boolean
  readonly forced: boolean
  /** For views: whether it asks with the rights of who reads it. */
  readonly securityInvoker: boolean
  /** The query of a view. */
  readonly definition: string | null
  readonly columns: readonly CatalogueColumn[]
  readonly policies: readonly CataloguePolicy[]
  readonly indexes: readonly CatalogueIndex[]
  readonly foreignKeys: readonly CatalogueForeignKey[]
  readonly grants: readonly CatalogueGrant[]
  readonly columnGrants: readonly CatalogueColumnGrant[]
  /** Rewrite rules that do something; that of a view itself is left out. */
  readonly rules: readonly string[]
}

export interface CatalogueFunction {
  /** With its argument types. */
  readonly name: string
  readonly owner: string
  readonly securityDefiner: boolean
  readonly pinnedSearchPath: boolean
  readonly grantees: readonly string[]
  /** A trigger function is never called by name: what counts is who changes the tables that it stands on. */
  readonly trigger: boolean
  /** The tables of its triggers. */
  readonly tables: readonly string[]
  /** SHA-256 of what it does. */
  readonly digest: string
}

/** A schema, or the database itself. */
export interface CatalogueContainer {
  readonly name: string
  readonly owner: string
  readonly grants: readonly CatalogueGrant[]
}

/** A role of the server. */
export interface CatalogueRole {
  readonly name: string
  /** `superuser`, `bypassrls`, `createrole`, `replication` and `createdb`, where it has them. */
  readonly attributes: readonly string[]
  /** The roles that it has been granted. */
  readonly memberOf: readonly string[]
}

/** A right to a function of PostgreSQL's own that is not open to everybody on a fresh server, or works on large objects. */
export interface CatalogueSystemFunction {
  readonly name: string
  readonly largeObjects: boolean
  readonly grantees: readonly string[]
}

/** A large object. It has an owner and grants, but no row-level security. */
export interface CatalogueLargeObject {
  readonly id: string
  readonly owner: string
  readonly grantees: readonly string[]
}

export interface Catalogue {
  readonly serverVersion: number
  readonly database: CatalogueContainer
  readonly schemas: readonly CatalogueContainer[]
  readonly roles: readonly CatalogueRole[]
  readonly relations: readonly CatalogueRelation[]
  readonly functions: readonly CatalogueFunction[]
  readonly systemFunctions: readonly CatalogueSystemFunction[]
  readonly largeObjects: readonly CatalogueLargeObject[]
  /** Privileges on tables that a role gives away whenever it creates one. */
  readonly defaultGrants: readonly (CatalogueGrant & { readonly owner: string })[]
}

/** Reads what row-level security depends on, of every schema but those of PostgreSQL and the migrations. */
export async function readCatalogue(database: Queryable): Promise<Catalogue> {
  const { rows } = await database.query(catalogueStatement)
  return (rows[0] as { catalogue: Catalogue }).catalogue
}

const grantsOf = (acl: string, kind: string, owner: string): string =>
  `(select coalesce(json_agg(json_strip_nulls(json_build_object('grantee', case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end,
    'privilege', lower(a.privilege_type), 'grantable', nullif(a.is_grantable, false))) order by a.privilege_type, pg_get_userbyid(a.grantee) collate "C"), '[]')
    from aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) a where a.grantee <> ${owner})`

const granteesOf = (acl: string, kind: string, owner: string): string =>
  `(select coalesce(json_agg(distinct case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end), '[]')
    from aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) a where a.grantee <> ${owner})`

const opensLargeObjects = `p.proname in (${largeObjectFunctions.map(quoteText).join(', ')})`

const catalogueStatement = `
with spaces as (
  select oid, nspname from pg_namespace
  where nspname not in ('pg_catalog', 'information_schema', 'quintet') and nspname not like 'pg\\_t%'
),
members as (select objid from pg_depend where deptype = 'e')
select json_build_object(
  'serverVersion', current_setting('server_version_num')::int,
  'database', (
    select json_build_object('name', b.datname, 'owner', pg_get_userbyid(b.datdba), 'grants', ${grantsOf('b.datacl', 'd', 'b.datdba')})
    from pg_database b where b.datname = current_database()),
  'schemas', coalesce((
    select json_agg(json_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner), 'grants', ${grantsOf('n.nspacl', 'n', 'n.nspowner')})
      order by n.nspname)
    from pg_namespace n where n.nspname not like 'pg\\_t%'), '[]'),
  'roles', coalesce((
    select json_agg(json_build_object('name', r.rolname,
      'attributes', array_remove(array[case when r.rolsuper then 'superuser' end, case when r.rolbypassrls then 'bypassrls' end,
        case when r.rolcreaterole then 'createrole' end, case when r.rolreplication then 'replication' end,
        case when r.rolcreatedb then 'createdb' end], null),
      'memberOf', (select coalesce(json_agg(pg_get_userbyid(m.role) order by pg_get_userbyid(m.role) collate "C"), '[]')
        from (select distinct roleid from pg_auth_members where member = r.oid) m(role))
    ) order by r.rolname) from pg_roles r), '[]'),
  'relations', coalesce((
    select json_agg(json_build_object(
      'name', s.nspname || '.' || c.relname,
      'kind', case c.relkind when 'v' then 'view' when 'm' then 'materialized-view' when 'f' then 'foreign-table' else 'table' end,
      'partition', c.relispartition,
      'owner', pg_get_userbyid(c.relowner),
      'rowSecurity', c.relrowsecurity, 'forced', c.relforcerowsecurity,
      'securityInvoker', coalesce((select o.option_value::boolean from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker'), false),
      'definition', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
      'columns', coalesce((
        select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'wireType', case when b.namespace = 'pg_catalog'::regnamespace then b.name end,
          'notNull', a.attnotnull or b.not_null,
          'optional', a.atthasdef or a.attidentity <> '' or b.has_default,
          'generated', case when a.attgenerated <> '' then 'stored' when a.attidentity = 'a' then 'always'
            when a.attidentity = 'd' then 'identity' else 'never' end,
          'labels', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = b.oid)
        ) order by a.attnum) from pg_attribute a, lateral (
          with recursive base as (
            select t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, t.typnotnull, t.typdefault is not null as has_default
            from pg_type t where t.oid = a.atttypid
            union all select t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, base.typnotnull or t.typnotnull,
              base.has_default or t.typdefault is not null
            from base join pg_type t on base.typtype = 'd' and t.oid = base.typbasetype
          )
          select oid, typname as name, typnamespace as namespace, typnotnull as not_null, has_default
          from base where typtype <> 'd') b
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
      'policies', coalesce((
        select json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive,
          'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
          'roles', (select json_agg(case r when 0 then 'public' else pg_get_userbyid(r)::text end order by pg_get_userbyid(r) collate "C") from unnest(p.polroles) r),
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)
        ) order by p.polname) from pg_policy p where p.polrelid = c.oid), '[]'),
      'indexes', coalesce((
        select json_agg(json_build_object('name', ic.relname, 'unique', i.indisunique, 'primary', i.indisprimary,
          'method', (select amname from pg_am where oid = ic.relam),
          'predicate', pg_get_expr(i.indpred, i.indrelid), 'inherited', ic.relispartition,
          'columns', (select json_agg(a.attname order by k.place) from unnest(i.indkey::int2[]) with ordinality k(num, place)
            left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num and k.num > 0 where k.place <= i.indnkeyatts)
        ) order by ic.relname) from pg_index i join pg_class ic on ic.oid = i.indexrelid where i.indrelid = c.oid and i.indisvalid), '[]'),
      'foreignKeys', coalesce((
        select json_agg(json_build_object('name', f.conname,
          'columns', (select json_agg(a.attname order by k.place) from unnest(f.conkey) with ordinality k(num, place)
            join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.num),
          'references', (select n.nspname || '.' || t.relname from pg_class t join pg_namespace n on n.oid = t.relnamespace where t.oid = f.confrelid),
          'referencedColumns', (select json_agg(a.attname order by k.place) from unnest(f.confkey) with ordinality k(num, place)
            join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.num),
          'inherited', f.conparentid <> 0
        ) order by f.conname) from pg_constraint f where f.conrelid = c.oid and f.contype = 'f'), '[]'),
      'grants', ${grantsOf('c.relacl', 'r', 'c.relowner')},
      'columnGrants', coalesce((
        select json_agg(json_build_object('grantee', case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::text end,
          'privilege', lower(g.privilege_type), 'column', a.attname) order by a.attnum, g.privilege_type, pg_get_userbyid(g.grantee) collate "C")
        from pg_attribute a, aclexplode(a.attacl) g where a.attrelid = c.oid and not a.attisdropped and g.grantee <> c.relowner), '[]'),
      'rules', coalesce((select json_agg(w.rulename order by w.rulename) from pg_rewrite w
        where w.ev_class = c.oid and w.rulename <> '_RETURN' and pg_get_ruledef(w.oid) !~ ' DO INSTEAD NOTHING;$'), '[]')
    ) order by s.nspname, c.relname)
    from pg_class c join spaces s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.oid not in (select objid from members)), '[]'),
  'functions', coalesce((
    select json_agg(json_build_object('name', s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
      'owner', pg_get_userbyid(p.proowner), 'securityDefiner', p.prosecdef,
      'pinnedSearchPath', exists (select 1 from unnest(p.proconfig) o where o like 'search_path=%'),
      'grantees', ${granteesOf('p.proacl', 'f', 'p.proowner')},
      'digest', encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(p.oid), '') || p.prosrc || coalesce(p.probin, ''), 'UTF8')), 'hex'),
      'trigger', p.prorettype = 'trigger'::regtype,
      'tables', coalesce((select json_agg(distinct ts.nspname || '.' || tc.relname) from pg_trigger t
        join pg_class tc on tc.oid = t.tgrelid join pg_namespace ts on ts.oid = tc.relnamespace
        where t.tgfoid = p.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgparentid = 0), '[]')
    ) order by s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) from pg_proc p join spaces s on s.oid = p.pronamespace
    where p.oid not in (select objid from members)), '[]'),
  'systemFunctions', coalesce((
    select json_agg(json_build_object('name', p.oid::regprocedure::text, 'largeObjects', p.large, 'grantees', p.grantees) order by p.oid::regprocedure::text)
    from (
      select p.oid, ${opensLargeObjects} as large, (
        select json_agg(distinct case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end)
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.grantee <> p.proowner and (${opensLargeObjects} or not exists (
          select from pg_init_privs i, aclexplode(i.initprivs) b
          where i.objoid = p.oid and i.classoid = 'pg_proc'::regclass and b.grantee = a.grantee))
      ) as grantees
      from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and (${opensLargeObjects}
        or exists (select from pg_init_privs i where i.objoid = p.oid and i.classoid = 'pg_proc'::regclass))
    ) p where p.grantees is not null), '[]'),
  'largeObjects', coalesce((
    select json_agg(json_build_object('id', l.oid::text, 'owner', pg_get_userbyid(l.lomowner), 'grantees', ${granteesOf('l.lomacl', 'L', 'l.lomowner')}) order by l.oid)
    from pg_largeobject_metadata l), '[]'),
  'defaultGrants', coalesce((
    select json_agg(json_build_object('owner', pg_get_userbyid(d.defaclrole),
      'grantee', case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end, 'privilege', lower(a.privilege_type))
      order by pg_get_userbyid(d.defaclrole) collate "C", a.privilege_type, pg_get_userbyid(a.grantee) collate "C")
    from pg_default_acl d, aclexplode(d.defaclacl) a where d.defaclobjtype = 'r' and a.grantee <> d.defaclrole), '[]')
) as catalogue`
