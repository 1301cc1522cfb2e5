export { createMigrator, type Migrator } from './migrations/migrator.ts'
export { formatMigrationStatus } from './migrations/format-status.ts'
export { migratorDefaults, type MigratorOptions } from './migrations/options.ts'
export type { AppliedMigration, MigrationStatus } from './migrations/status.ts'
export { waitForMigrations, type WaitForMigrationsOptions } from './migrations/wait-for-migrations.ts'
export {
  provisionDatabase,
  type ProvisionedDatabase,
  type ProvisionOptions,
} from './roles/provision-database.ts'
