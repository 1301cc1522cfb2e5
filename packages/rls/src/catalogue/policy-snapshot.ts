import type { Queryable } from '../sql/queryable.ts'
import { inRolledBackTransaction, refusePool } from '../sql/rolled-back.ts'
import { policiesToSql, type PolicyRoles } from '../policies/policies-to-sql.ts'
import type { TablePolicy } from '../policies/table-policy.ts'
import {
  readCatalogue,
  type Catalogue,
  type CatalogueColumnGrant,
  type CatalogueFunction,
  type CatalogueGrant,
  type CataloguePolicy,
  type CatalogueRelation,
} from './catalogue.ts'

/** What decides who sees which rows of a table or view. */
export interface RelationSecurity {
  readonly kind: CatalogueRelation['kind']
  readonly owner: string
  readonly rowSecurity: boolean
  readonly forced: boolean
  readonly securityInvoker: boolean
  /** The query of a view. */
  readonly definition: string | null
  readonly policies: readonly CataloguePolicy[]
  readonly grants: readonly CatalogueGrant[]
  readonly columnGrants: readonly CatalogueColumnGrant[]
}

/** What decides who calls a function, and with whose rights. */
export interface FunctionSecurity {
  readonly owner: string
  readonly securityDefiner: boolean
  readonly pinnedSearchPath: boolean
  readonly grantees: readonly string[]
  /** It is never called by name. */
  readonly trigger: boolean
  /** The tables of its triggers. */
  readonly tables: readonly string[]
  /** SHA-256 of what it does. */
  readonly digest: string
}

/** What a role may do whatever it has been granted here. */
export interface RoleSecurity {
  readonly attributes: readonly string[]
  readonly memberOf: readonly string[]
}

export interface ContainerSecurity {
  readonly owner: string
  readonly grants: readonly CatalogueGrant[]
}

/**
 * The security of every table, view, function and schema, and of the roles that have rights here. JSON, in a stable order: keep it in the repository and
 * compare.
 */
export interface PolicySnapshot {
  readonly relations: Readonly<Record<string, RelationSecurity>>
  readonly functions: Readonly<Record<string, FunctionSecurity>>
  /** Schemas by name, and the database as `database`. */
  readonly containers: Readonly<Record<string, ContainerSecurity>>
  /** The roles that something here belongs or is granted to, and their members. */
  readonly roles: Readonly<Record<string, RoleSecurity>>
  /** What is granted on each table that a role creates, by that role. */
  readonly defaultGrants: Readonly<Record<string, readonly CatalogueGrant[]>>
}

export async function readPolicySnapshot(database: Queryable): Promise<PolicySnapshot> {
  return snapshotOf(await readCatalogue(database))
}

export function snapshotOf(catalogue: Catalogue): PolicySnapshot {
  const { relations, functions, schemas, database, defaultGrants } = catalogue
  return {
    containers: Object.fromEntries(
      [...schemas.filter(({ name }) => name !== 'quintet'), { ...database, name: 'database' }].map(
        ({ name, owner, grants }) => [name, { owner, grants }],
      ),
    ),
    roles: rolesOf(catalogue),
    defaultGrants: Object.fromEntries(
      [...Map.groupBy(defaultGrants, ({ owner }) => owner)].map(([owner, grants]) => [
        owner,
        grants.map(({ grantee, privilege }) => ({ grantee, privilege })),
      ]),
    ),
    relations: Object.fromEntries(relations.map((relation) => [relation.name, securityOf(relation)])),
    functions: Object.fromEntries(functions.map((one) => [one.name, functionSecurityOf(one)])),
  }
}

/** The other roles of the server belong to other databases. */
function rolesOf({
  relations,
  functions,
  schemas,
  database,
  defaultGrants,
  roles,
}: Catalogue): Readonly<Record<string, RoleSecurity>> {
  const holders = new Set([
    ...[...relations, ...functions, ...schemas, database, ...defaultGrants].map(({ owner }) => owner),
    ...[...schemas, database].flatMap(({ grants }) => grants.map(({ grantee }) => grantee)),
    ...relations.flatMap(({ grants, columnGrants, policies }) => [
      ...[...grants, ...columnGrants].map(({ grantee }) => grantee),
      ...policies.flatMap((policy) => policy.roles),
    ]),
    ...functions.flatMap(({ grantees }) => grantees),
    ...defaultGrants.map(({ grantee }) => grantee),
  ])
  // A set that grows while it is walked: the members of members are found too.
  for (const holder of holders)
    for (const { name, memberOf } of roles) if (memberOf.includes(holder)) holders.add(name)
  const counts = (name: string): boolean => holders.has(name) || name.startsWith('pg_')
  return Object.fromEntries(
    roles
      .filter(({ name }) => holders.has(name))
      .map(({ name, attributes, memberOf }) => [name, { attributes, memberOf: memberOf.filter(counts) }]),
  )
}

function securityOf(relation: CatalogueRelation): RelationSecurity {
  const { kind, owner, rowSecurity, forced, securityInvoker, definition, policies, grants, columnGrants } =
    relation
  return { kind, owner, rowSecurity, forced, securityInvoker, definition, policies, grants, columnGrants }
}

function functionSecurityOf(one: CatalogueFunction): FunctionSecurity {
  const { owner, securityDefiner, pinnedSearchPath, grantees, trigger, tables, digest } = one
  return { owner, securityDefiner, pinnedSearchPath, grantees, trigger, tables, digest }
}

/** A snapshot before and after policies are applied. */
export interface PolicyPlan {
  readonly before: PolicySnapshot
  readonly after: PolicySnapshot
}

/**
 * What the policies would change: applies them in a transaction, reads the result, and takes everything
 * back. Needs a connection of the owner login, as PostgreSQL itself normalizes the expressions.
 *
 * @throws TypeError for a pool, over which the policies would be applied for real.
 */
export async function planPolicies(
  owner: Queryable,
  policies: readonly TablePolicy[],
  roles: PolicyRoles,
): Promise<PolicyPlan> {
  refusePool(owner, 'planPolicies')
  return inRolledBackTransaction(owner, async () => {
    const before = await readPolicySnapshot(owner)
    for (const statement of policiesToSql(policies, roles)) await owner.query(statement)
    return { before, after: await readPolicySnapshot(owner) }
  })
}

/** The same snapshot for a database whose roles have other names. */
export function renameRoles(snapshot: PolicySnapshot, names: ReadonlyMap<string, string>): PolicySnapshot {
  const rename = (role: string): string => names.get(role) ?? role
  const renameGrants = <Grant extends CatalogueGrant>(grants: readonly Grant[]): readonly Grant[] =>
    grants.map((grant) => ({ ...grant, grantee: rename(grant.grantee) }))
  return {
    relations: mapValues(snapshot.relations, (relation) => ({
      ...relation,
      owner: rename(relation.owner),
      policies: relation.policies.map((policy) => ({ ...policy, roles: policy.roles.map(rename) })),
      grants: renameGrants(relation.grants),
      columnGrants: renameGrants(relation.columnGrants),
    })),
    functions: mapValues(snapshot.functions, (one) => ({
      ...one,
      owner: rename(one.owner),
      grantees: one.grantees.map(rename),
    })),
    containers: mapValues(snapshot.containers, ({ owner, grants }) => ({
      owner: rename(owner),
      grants: renameGrants(grants),
    })),
    roles: renameKeys(
      mapValues(snapshot.roles, (role) => ({ ...role, memberOf: role.memberOf.map(rename) })),
      rename,
    ),
    defaultGrants: renameKeys(mapValues(snapshot.defaultGrants, renameGrants), rename),
  }
}

function mapValues<Value>(
  record: Readonly<Record<string, Value>>,
  change: (value: Value) => Value,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}

function renameKeys<Value>(
  record: Readonly<Record<string, Value>>,
  rename: (key: string) => string,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [rename(key), value]))
}
