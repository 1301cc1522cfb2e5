import type { Queryable } from '../sql/queryable.ts'

export interface CatalogueColumn {
  readonly name: string
  /** As `format_type` spells it. */
  readonly type: string
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
  readonly unique: boolean
  readonly primary: boolean
  readonly partial: boolean
  /** Column names in order; null for an expression. */
  readonly columns: readonly (string | null)[]
}

export interface CatalogueForeignKey {
  readonly name: string
  readonly columns: readonly string[]
  readonly references: string
  readonly referencedColumns: readonly string[]
}

export interface CatalogueGrant {
  readonly grantee: string
  readonly privilege: string
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
  readonly columns: readonly CatalogueColumn[]
  readonly policies: readonly CataloguePolicy[]
  readonly indexes: readonly CatalogueIndex[]
  readonly foreignKeys: readonly CatalogueForeignKey[]
  readonly grants: readonly CatalogueGrant[]
  /** Privileges on single columns. */
  readonly columnGrants: readonly (CatalogueGrant & { readonly column: string })[]
}

export interface CatalogueFunction {
  /** With its argument types. */
  readonly name: string
  readonly owner: string
  readonly securityDefiner: boolean
  readonly pinnedSearchPath: boolean
  readonly grantees: readonly string[]
}

export interface Catalogue {
  readonly serverVersion: number
  readonly relations: readonly CatalogueRelation[]
  readonly functions: readonly CatalogueFunction[]
  /** Privileges on tables that a role gives away whenever it creates one. */
  readonly defaultGrants: readonly (CatalogueGrant & { readonly owner: string })[]
  /** Who may create temporary tables. */
  readonly temporary: readonly string[]
}

/** Reads what row-level security depends on, of every schema but those of PostgreSQL and the migrations. */
export async function readCatalogue(database: Queryable): Promise<Catalogue> {
  const { rows } = await database.query(catalogueStatement)
  return (rows[0] as { catalogue: Catalogue }).catalogue
}

const grantsOf = (acl: string, kind: string, owner: string): string =>
  `(select coalesce(json_agg(json_build_object('grantee', case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end,
    'privilege', lower(a.privilege_type)) order by a.privilege_type, pg_get_userbyid(a.grantee) collate "C"), '[]')
    from aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) a where a.grantee <> ${owner})`

const catalogueStatement = `
with spaces as (
  select oid, nspname from pg_namespace
  where nspname not in ('pg_catalog', 'information_schema', 'quintet') and nspname not like 'pg\\_t%'
),
members as (select objid from pg_depend where deptype = 'e')
select json_build_object(
  'serverVersion', current_setting('server_version_num')::int,
  'relations', coalesce((
    select json_agg(json_build_object(
      'name', s.nspname || '.' || c.relname,
      'kind', case c.relkind when 'v' then 'view' when 'm' then 'materialized-view' when 'f' then 'foreign-table' else 'table' end,
      'partition', c.relispartition,
      'owner', pg_get_userbyid(c.relowner),
      'rowSecurity', c.relrowsecurity, 'forced', c.relforcerowsecurity,
      'securityInvoker', coalesce((select o.option_value::boolean from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker'), false),
      'columns', coalesce((
        select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull,
          'optional', a.atthasdef or a.attidentity <> '',
          'generated', case when a.attgenerated <> '' then 'stored' when a.attidentity = 'a' then 'always'
            when a.attidentity = 'd' then 'identity' else 'never' end,
          'labels', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = a.atttypid)
        ) order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
      'policies', coalesce((
        select json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive,
          'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
          'roles', (select json_agg(case r when 0 then 'public' else pg_get_userbyid(r)::text end order by pg_get_userbyid(r) collate "C") from unnest(p.polroles) r),
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)
        ) order by p.polname) from pg_policy p where p.polrelid = c.oid), '[]'),
      'indexes', coalesce((
        select json_agg(json_build_object('name', ic.relname, 'unique', i.indisunique, 'primary', i.indisprimary,
          'partial', i.indpred is not null,
          'columns', (select json_agg(a.attname order by k.place) from unnest(i.indkey::int2[]) with ordinality k(num, place)
            left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num and k.num > 0 where k.place <= i.indnkeyatts)
        ) order by ic.relname) from pg_index i join pg_class ic on ic.oid = i.indexrelid where i.indrelid = c.oid and i.indisvalid), '[]'),
      'foreignKeys', coalesce((
        select json_agg(json_build_object('name', f.conname,
          'columns', (select json_agg(a.attname order by k.place) from unnest(f.conkey) with ordinality k(num, place)
            join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.num),
          'references', (select n.nspname || '.' || t.relname from pg_class t join pg_namespace n on n.oid = t.relnamespace where t.oid = f.confrelid),
          'referencedColumns', (select json_agg(a.attname order by k.place) from unnest(f.confkey) with ordinality k(num, place)
            join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.num)
        ) order by f.conname) from pg_constraint f where f.conrelid = c.oid and f.contype = 'f'), '[]'),
      'grants', ${grantsOf('c.relacl', 'r', 'c.relowner')},
      'columnGrants', coalesce((
        select json_agg(json_build_object('grantee', case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::text end,
          'privilege', lower(g.privilege_type), 'column', a.attname) order by a.attnum, g.privilege_type, pg_get_userbyid(g.grantee) collate "C")
        from pg_attribute a, aclexplode(a.attacl) g where a.attrelid = c.oid and not a.attisdropped and g.grantee <> c.relowner), '[]')
    ) order by s.nspname, c.relname)
    from pg_class c join spaces s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.oid not in (select objid from members)), '[]'),
  'functions', coalesce((
    select json_agg(json_build_object('name', s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
      'owner', pg_get_userbyid(p.proowner), 'securityDefiner', p.prosecdef,
      'pinnedSearchPath', exists (select 1 from unnest(p.proconfig) o where o like 'search_path=%'),
      'grantees', (select coalesce(json_agg(case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end order by pg_get_userbyid(a.grantee) collate "C"), '[]')
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee <> p.proowner)
    ) order by s.nspname, p.proname) from pg_proc p join spaces s on s.oid = p.pronamespace
    where p.oid not in (select objid from members)), '[]'),
  'defaultGrants', coalesce((
    select json_agg(json_build_object('owner', pg_get_userbyid(d.defaclrole),
      'grantee', case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end, 'privilege', lower(a.privilege_type)))
    from pg_default_acl d, aclexplode(d.defaclacl) a where d.defaclobjtype = 'r' and a.grantee <> d.defaclrole), '[]'),
  'temporary', (
    select coalesce(json_agg(case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end), '[]')
    from pg_database b, aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) a
    where b.datname = current_database() and a.privilege_type = 'TEMPORARY' and a.grantee <> b.datdba)
) as catalogue`
