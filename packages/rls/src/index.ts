export { asSystem } from './context/as-system.ts'
export { checkRoles, type CheckRolesOptions } from './roles/check-roles.ts'
export type { Queryable } from './sql/queryable.ts'
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
export { applyPolicies } from './policies/apply-policies.ts'
export { policiesToDownSql, policiesToSql, type PolicyRoles } from './policies/policies-to-sql.ts'
export { contextSetting, currentTenantDefault, hasAnyRole } from './policies/setting.ts'
export {
  customPolicy,
  ownerPolicy,
  rolePolicy,
  sharedPolicy,
  tenantPolicy,
  type CustomPolicyOptions,
  type Operation,
  type OwnerPolicyOptions,
  type RolePolicyOptions,
  type TablePolicy,
  type TenantPolicyOptions,
} from './policies/table-policy.ts'
export { typedPolicies, type TypedPolicies } from './policies/typed-policies.ts'
export { readCatalogue, type Catalogue } from './catalogue/catalogue.ts'
export { formatLint, lint, lintCatalogue, lintDefaults, type LintOptions } from './catalogue/lint.ts'
export type { LintFinding, LintRule } from './catalogue/lint-rule.ts'
export {
  diffPolicies,
  formatPolicyDiff,
  type PolicyChange,
  type PolicyDiffOptions,
} from './catalogue/policy-diff.ts'
export {
  planPolicies,
  readPolicySnapshot,
  type PolicyPlan,
  type PolicySnapshot,
  type TableSecurity,
} from './catalogue/policy-snapshot.ts'
export { generateTypes, type GenerateTypesOptions } from './catalogue/generate-types.ts'
export {
  advisoryLockDefaults,
  advisoryLockKey,
  withAdvisoryLock,
  type AdvisoryLockOptions,
  type LockPool,
} from './data/advisory-lock.ts'
export { backupDatabase, type BackupOptions, type BackupReport } from './backup/backup.ts'
export { restoreDatabase, type RestoreOptions } from './backup/restore.ts'
export { verifyBackup, type VerifyBackupOptions } from './backup/verify-backup.ts'
export {
  createSingletonJob,
  singletonJobDefaults,
  type SingletonJob,
  type SingletonJobOptions,
} from './data/singleton-job.ts'
export { updateVersioned, type VersionedUpdate } from './data/versions.ts'
