export {
  checkMigrations,
  formatMigrationFindings,
  type CheckMigrationsOptions,
  type MigrationFinding,
} from './migrations/check-migrations.ts'
export type { BlockingRule } from './migrations/blocking-ddl.ts'
export { createMigrator, type Migrator } from './migrations/migrator.ts'
export { currentRoles } from './migrations/current-roles.ts'
export { formatMigrationStatus } from './migrations/format-status.ts'
export { migratorDefaults, type MigratorOptions } from './migrations/options.ts'
export type { AppliedMigration, MigrationStatus } from './migrations/status.ts'
export { waitForMigrations, type WaitForMigrationsOptions } from './migrations/wait-for-migrations.ts'
export {
  provisionDatabase,
  type ProvisionedDatabase,
  type ProvisionOptions,
} from './roles/provision-database.ts'
export { checkRoles, type CheckRolesOptions } from './roles/check-roles.ts'
export { applyPolicies } from './policies/apply-policies.ts'
export { policiesToDownSql, policiesToSql, type PolicyRoles } from './policies/policies-to-sql.ts'
