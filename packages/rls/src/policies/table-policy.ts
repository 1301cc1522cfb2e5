import { refuseUnknownKeys } from '@quintet/core/kit'
import type { IdType } from '../context/context-settings.ts'
import { quoteName } from '../sql/sql-text.ts'
import { contextSetting, hasAnyRole } from './setting.ts'

export type Operation = 'select' | 'insert' | 'update' | 'delete'

export const operations: readonly Operation[] = ['select', 'insert', 'update', 'delete']

/**
 * Who is admitted to a row: every tenant, all users of the row's tenant, or the user whose row it is. `undeclared`: what
 * the expression says, yet no other tenant.
 */
export type PolicyAudience = 'everyone' | 'tenant' | 'user' | 'undeclared'

/** What tenants may do with the rows of one table; {@link policiesToSql} makes statements of it. */
export interface TablePolicy {
  /** `table`, or `schema.table`. */
  readonly table: string
  /** Part of the policy's name in the database. */
  readonly name: string
  /** The operations that it opens to tenants; none where only the system login works. */
  readonly for: readonly Operation[]
  /** SQL: which rows can be seen, changed and deleted. */
  readonly using: string
  /** SQL: what a row must be after an INSERT or UPDATE. */
  readonly check: string
  /** Columns that every statement filters by, so that each should lead an index. */
  readonly columns: readonly string[]
  /** The column that holds the tenant, where rows belong to one. */
  readonly tenantColumn: string | null
  /** The column that holds the user, where rows belong to one. */
  readonly userColumn: string | null
  /** Who is admitted to a row, for the attack matrix. */
  readonly audience: PolicyAudience
  /** Roles of the context, of which one is needed; none where all users are admitted. */
  readonly roles: readonly string[]
}

interface PolicyOptions {
  /** Which operations the policy opens. @defaultValue all four */
  readonly for?: readonly Operation[]
  /** Tells two policies of one kind on one table apart. @defaultValue the kind */
  readonly name?: string
}

export interface TenantPolicyOptions<Column extends string = string> extends PolicyOptions {
  /** @defaultValue `'tenant_id'` */
  readonly column?: Column
  /** The type of the column. @defaultValue `'uuid'` */
  readonly type?: IdType
}

/** Rows belong to one tenant, and all its users use them. */
export function tenantPolicy(table: string, options: TenantPolicyOptions = {}): TablePolicy {
  refuseUnknownKeys(options, ['for', 'name', 'column', 'type'], `tenantPolicy(${table})`)
  const column = options.column ?? 'tenant_id'
  const rule = tenantRule(column, options.type)
  return define(table, 'tenant', options, {
    using: rule,
    check: rule,
    columns: [column],
    tenantColumn: column,
    userColumn: null,
    audience: 'tenant',
    roles: [],
  })
}

export interface OwnerPolicyOptions<Column extends string = string> extends PolicyOptions {
  /** The column with the user. @defaultValue `'user_id'` */
  readonly column?: Column
  readonly type?: IdType
  /** The column with the tenant; null where users are unique across tenants. @defaultValue `'tenant_id'` */
  readonly tenantColumn?: Column | null
  readonly tenantType?: IdType
}

/** Rows belong to one user of one tenant, who alone uses them. */
export function ownerPolicy(table: string, options: OwnerPolicyOptions = {}): TablePolicy {
  refuseUnknownKeys(
    options,
    ['for', 'name', 'column', 'type', 'tenantColumn', 'tenantType'],
    `ownerPolicy(${table})`,
  )
  const column = options.column ?? 'user_id'
  const tenantColumn = options.tenantColumn === undefined ? 'tenant_id' : options.tenantColumn
  const user = `${quoteName(column)} = ${contextSetting('user_id', options.type)}`
  const rule = tenantColumn === null ? user : `${tenantRule(tenantColumn, options.tenantType)} and ${user}`
  return define(table, 'owner', options, {
    using: rule,
    check: rule,
    columns: tenantColumn === null ? [column] : [tenantColumn, column],
    tenantColumn,
    userColumn: column,
    audience: 'user',
    roles: [],
  })
}

/** Rows belong to no tenant: every tenant reads them, only the system login writes them. */
export function sharedPolicy(table: string, options: { readonly name?: string } = {}): TablePolicy {
  refuseUnknownKeys(options, ['name'], `sharedPolicy(${table})`)
  return define(
    table,
    'shared',
    { ...options, for: ['select'] },
    {
      using: 'true',
      check: 'false',
      columns: [],
      tenantColumn: null,
      userColumn: null,
      audience: 'everyone',
      roles: [],
    },
  )
}

/** Rows of the system login alone: tenants have no right to the table. */
export function systemOnlyPolicy(table: string): TablePolicy {
  return Object.freeze({
    table,
    name: 'none',
    for: [],
    using: 'false',
    check: 'false',
    columns: [],
    tenantColumn: null,
    userColumn: null,
    audience: 'tenant',
    roles: [],
  })
}

export interface RolePolicyOptions<Column extends string = string> extends TenantPolicyOptions<Column> {
  /** Roles of the context, of which one is enough. */
  readonly roles: readonly string[]
}

/** Rows of one tenant, for users with a role. */
export function rolePolicy(table: string, options: RolePolicyOptions): TablePolicy {
  refuseUnknownKeys(options, ['for', 'name', 'column', 'type', 'roles'], `rolePolicy(${table})`)
  if (!Array.isArray(options.roles) || options.roles.length === 0) {
    throw new TypeError(`rolePolicy(${table}): name at least one role.`)
  }
  const column = options.column ?? 'tenant_id'
  const rule = `${tenantRule(column, options.type)} and ${hasAnyRole(options.roles)}`
  return define(table, 'role', options, {
    using: rule,
    check: rule,
    columns: [column],
    tenantColumn: column,
    userColumn: null,
    audience: 'tenant',
    roles: [...options.roles],
  })
}

export interface CustomPolicyOptions<Column extends string = string> extends PolicyOptions {
  readonly using: string
  /** @defaultValue the same as `using` */
  readonly check?: string
  /** Columns that the expression filters by. @defaultValue none */
  readonly columns?: readonly Column[]
  readonly tenantColumn?: Column | null
  /**
   * Who is admitted to a row, which `runAttackMatrix` holds the expression to.
   * @defaultValue what the expression says, yet no other tenant
   */
  readonly audience?: Exclude<PolicyAudience, 'undeclared'>
}

/** Rows by an expression of your own. Wrap settings in a subselect, as {@link contextSetting} does. */
export function customPolicy(table: string, options: CustomPolicyOptions): TablePolicy {
  refuseUnknownKeys(
    options,
    ['for', 'name', 'using', 'check', 'columns', 'tenantColumn', 'audience'],
    `customPolicy(${table})`,
  )
  if (typeof options.using !== 'string' || options.using.trim() === '') {
    throw new TypeError(
      `customPolicy(${table}): using is empty. Give the SQL expression that rows must meet.`,
    )
  }
  const audiences: readonly unknown[] = ['everyone', 'tenant', 'user', undefined]
  if (!audiences.includes(options.audience)) {
    throw new TypeError(`customPolicy(${table}).audience: give 'everyone', 'tenant' or 'user'.`)
  }
  return define(table, 'custom', options, {
    using: options.using,
    check: options.check ?? options.using,
    columns: options.columns ?? [],
    tenantColumn: options.tenantColumn ?? null,
    userColumn: null,
    audience: options.audience ?? 'undeclared',
    roles: [],
  })
}

function define(
  table: string,
  kind: string,
  options: PolicyOptions,
  rest: Omit<TablePolicy, 'table' | 'name' | 'for'>,
): TablePolicy {
  const chosen = options.for ?? operations
  const unknown = chosen.filter((operation) => !operations.includes(operation))
  if (unknown.length > 0 || chosen.length === 0) {
    throw new TypeError(`${kind}Policy(${table}).for: give some of ${operations.join(', ')}.`)
  }
  const name = options.name ?? kind
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    throw new TypeError(
      `${kind}Policy(${table}).name: ${JSON.stringify(name)} must be lower-case letters, digits and underscores.`,
    )
  }
  return Object.freeze({
    table,
    name,
    for: operations.filter((operation) => chosen.includes(operation)),
    ...rest,
  })
}

function tenantRule(column: string, type: IdType | undefined): string {
  return `${quoteName(column)} = ${contextSetting('tenant_id', type)}`
}
