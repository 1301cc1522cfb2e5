import { randomBytes } from 'node:crypto'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { Client } from 'pg'
import { databaseRoles, type DatabaseRoles } from '../roles/database-roles.ts'
import { provisionDatabase } from '../roles/provision-database.ts'
import { createMigrator } from '../migrations/migrator.ts'
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

/** Proves a backup: migrates a fresh database, restores into it, compares every sum, and drops it. */
export async function verifyBackup(options: VerifyBackupOptions): Promise<BackupReport> {
  refuseUnknownKeys(options, ['file', 'adminUrl', 'folder', 'roles'], 'verifyBackup')
  const name = `quintet_verify_${randomBytes(6).toString('hex')}`
  const url = new URL(options.adminUrl)
  url.pathname = `/${name}`
  try {
    await provisionDatabase({ adminUrl: options.adminUrl, name })
    if (options.roles !== undefined) {
      const { owner, tenant, system } = options.roles
      const named = [owner, tenant, system].map(quoteName).join(', ')
      await execute(url.href, `grant usage on schema public to ${named}`)
    }
    await createMigrator({ ownerUrl: url.href, folder: options.folder }).up()
    return await restoreDatabase({ url: url.href, file: options.file })
  } finally {
    await execute(options.adminUrl, `drop database if exists ${quoteName(name)} with (force)`)
    const { owner, tenant, login, system } = databaseRoles(name)
    await execute(options.adminUrl, `drop role if exists ${[owner, tenant, login, system].join(', ')}`)
  }
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
