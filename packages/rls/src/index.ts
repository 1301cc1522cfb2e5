export { asSystem } from './context/as-system.ts'
export {
  currentRlsContext,
  runWithRlsContext,
  type RlsContext,
  type RlsContextInput,
} from './context/rls-context.ts'
export { RlsError, type RlsErrorCode } from './errors.ts'
export {
  contextOfPrincipal,
  createRlsInvocationWrapper,
  type RlsInvocationWrapperOptions,
} from './context/invocation-wrapper.ts'
export {
  rlsPoolDefaults,
  type ConnectionOptions,
  type RlsPoolOptions,
  type SystemPoolOptions,
} from './pool/pool-options.ts'
export { createRlsPool, createSystemPool, type RlsPool } from './pool/rls-pool.ts'
export { mapPostgresError } from './sql/postgres-errors.ts'
export type { IdType } from './context/context-settings.ts'
export { failedStatement } from './sql/statement-note.ts'
export type { AuditSystemAccess, SystemAccess } from './context/system-access.ts'
export { databaseRoles, type DatabaseRoles } from './roles/database-roles.ts'
export { contextSetting, currentTenantDefault, hasAnyRole } from './policies/setting.ts'
export {
  customPolicy,
  ownerPolicy,
  rolePolicy,
  sharedPolicy,
  systemOnlyPolicy,
  tenantPolicy,
  type CustomPolicyOptions,
  type Operation,
  type OwnerPolicyOptions,
  type RolePolicyOptions,
  type TablePolicy,
  type TenantPolicyOptions,
} from './policies/table-policy.ts'
export { typedPolicies, type TypedPolicies } from './policies/typed-policies.ts'
