import { option, readOptions } from '@quintet/core/kit'
import type { DatabaseRoles } from '../roles/database-roles.ts'
import { createMigrator } from '../migrations/migrator.ts'
import { executeStatement, withScratchDatabase } from '../migrations/scratch-database.ts'
import { quoteName } from '../sql/sql-text.ts'
import type { BackupReport } from './backup.ts'
import { restoreDatabase } from './restore.ts'

export interface VerifyBackupOptions {
  readonly file: string
  /** A login that may create databases and roles. */
  readonly adminUrl: string
  /** The migrations of the database that was saved. */
  readonly folder: string
  /**
   * The roles that the migrations speak of, where they name them; they must exist on the server.
   * @defaultValue roles of its own, for migrations that take them from `databaseRoles(current_database())`
   */
  readonly roles?: DatabaseRoles
}

const spec = {
  file: option.text(),
  adminUrl: option.text(),
  folder: option.text(),
  roles: option
    .nested({ owner: option.text(), tenant: option.text(), login: option.text(), system: option.text() })
    .optional(),
}

/** Proves a backup: migrates a fresh database, restores into it, compares every sum, and drops it. */
export async function verifyBackup(options: VerifyBackupOptions): Promise<BackupReport> {
  const { file, adminUrl, folder, roles } = readOptions<VerifyBackupOptions, typeof spec>(
    options,
    spec,
    'verifyBackup',
  )
  return withScratchDatabase(adminUrl, async ({ adminUrl: url }) => {
    if (roles !== undefined) {
      const { owner, tenant, system } = roles
      const named = [owner, tenant, system].map(quoteName).join(', ')
      await executeStatement(url, `grant usage on schema public to ${named}`)
    }
    await createMigrator({ ownerUrl: url, folder }).up()
    return restoreDatabase({ url, file })
  })
}
