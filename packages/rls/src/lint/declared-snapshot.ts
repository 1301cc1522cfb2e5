import { Client } from 'pg'
import { option, readOptions } from '@quintet/core/kit'
import { readPolicySnapshot, renameRoles, type PolicySnapshot } from '../catalogue/policy-snapshot.ts'
import { createMigrator } from '../migrations/migrator.ts'
import { withScratchDatabase } from '../migrations/scratch-database.ts'
import type { DatabaseRoles } from '../roles/database-roles.ts'

export interface DeclaredSnapshotOptions {
  /** A login that may create databases and roles. */
  readonly adminUrl: string
  /** The migrations. */
  readonly folder: string
  /** The roles of the database that the snapshot is to be compared with. */
  readonly roles: DatabaseRoles
}

const spec = {
  adminUrl: option.text(),
  folder: option.text(),
  roles: option.nested({
    owner: option.text(),
    tenant: option.text(),
    login: option.text(),
    system: option.text(),
  }),
}

/**
 * The snapshot that the migrations bring about: runs them in a fresh database with roles of its own, and drops it.
 * As `expected` of the lint it shows what has been changed by hand.
 */
export async function readDeclaredSnapshot(options: DeclaredSnapshotOptions): Promise<PolicySnapshot> {
  const { adminUrl, folder, roles } = readOptions<DeclaredSnapshotOptions, typeof spec>(
    options,
    spec,
    'readDeclaredSnapshot',
  )
  return withScratchDatabase(adminUrl, async (scratch) => {
    await createMigrator({ ownerUrl: scratch.ownerUrl, folder }).up()
    const client = new Client({ connectionString: scratch.ownerUrl })
    // The statement in flight is told; without a listener the same error would end the process.
    client.on('error', () => undefined)
    await client.connect()
    try {
      const names = (['owner', 'tenant', 'login', 'system'] as const).map((role): [string, string] => [
        scratch.roles[role],
        roles[role],
      ])
      return renameRoles(await readPolicySnapshot(client), new Map(names))
    } finally {
      await client.end()
    }
  })
}
