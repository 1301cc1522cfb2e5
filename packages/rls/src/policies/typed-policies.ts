import {
  customPolicy,
  ownerPolicy,
  rolePolicy,
  sharedPolicy,
  systemOnlyPolicy,
  tenantPolicy,
  type CustomPolicyOptions,
  type OwnerPolicyOptions,
  type RolePolicyOptions,
  type TablePolicy,
  type TenantPolicyOptions,
} from './table-policy.ts'

type TableOf<Database> = keyof Database & string
type ColumnOf<Database, Table extends keyof Database> = keyof Database[Table] & string

/** The policy functions, held to the tables and columns of a Kysely schema. */
export interface TypedPolicies<Database> {
  tenant<Table extends TableOf<Database>>(
    table: Table,
    options?: TenantPolicyOptions<ColumnOf<Database, Table>>,
  ): TablePolicy
  owner<Table extends TableOf<Database>>(
    table: Table,
    options?: OwnerPolicyOptions<ColumnOf<Database, Table>>,
  ): TablePolicy
  shared(table: TableOf<Database>): TablePolicy
  systemOnly(table: TableOf<Database>): TablePolicy
  role<Table extends TableOf<Database>>(
    table: Table,
    options: RolePolicyOptions<ColumnOf<Database, Table>>,
  ): TablePolicy
  custom<Table extends TableOf<Database>>(
    table: Table,
    options: CustomPolicyOptions<ColumnOf<Database, Table>>,
  ): TablePolicy
}

/** The policy functions for one Kysely schema: a table or column that it does not have is a type error. */
export function typedPolicies<Database>(): TypedPolicies<Database> {
  return {
    tenant: tenantPolicy,
    owner: ownerPolicy,
    shared: (table) => sharedPolicy(table),
    systemOnly: systemOnlyPolicy,
    role: rolePolicy,
    custom: customPolicy,
  }
}
