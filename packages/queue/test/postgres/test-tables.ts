import { createTestDatabase, type TestDatabase } from '@quintet/test-kit'
import { Pool, type PoolClient } from 'pg'
import { inboxMigration, leaseMigration, outboxMigration } from '../../src/index.ts'

/** A database with the tables of this package, and pools that act under the roles of an app. */
export interface TestTables extends AsyncDisposable {
  readonly database: TestDatabase
  /** As the owner. */
  readonly owner: Pool
  /** Under the system role. */
  readonly system: Pool
  /** Runs statements in one transaction, under the tenant role and for one tenant and user. */
  asTenant<Result>(
    tenantId: string,
    userId: string | null,
    run: (client: PoolClient) => Promise<Result>,
  ): Promise<Result>
}

export const tenantA = '00000000-0000-4000-8000-00000000000a'
export const tenantB = '00000000-0000-4000-8000-00000000000b'
export const alice = '00000000-0000-4000-8000-0000000000a1'

export async function createTestTables(): Promise<TestTables> {
  const database = await createTestDatabase()
  const tenantRole = `${database.name}_tenant`
  const systemRole = `${database.name}_system`
  const owner = new Pool({ connectionString: database.url, max: 4 })
  await owner.query(`create role ${tenantRole} nologin; create role ${systemRole} nologin`)
  const roles = { tenantRole, systemRole }
  // Twice: a migration may be run again.
  for (let round = 0; round < 2; round++) {
    await owner.query(outboxMigration(roles) + inboxMigration(roles) + leaseMigration(roles))
  }
  await owner.query(
    `create table effects (event_id text not null); grant all on effects to ${tenantRole}, ${systemRole}`,
  )
  const system = new Pool({ connectionString: database.url, options: `-c role=${systemRole}`, max: 10 })
  for (const pool of [owner, system]) {
    pool.on('error', () => undefined)
    // A client may still be on its way out when the database is dropped.
    pool.on('connect', (client) => void client.on('error', () => undefined))
  }
  return {
    database,
    owner,
    system,
    async asTenant(tenantId, userId, run) {
      const client = await owner.connect()
      try {
        await client.query('begin')
        await client.query(`set local role ${tenantRole}`)
        await client.query(
          `select set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true)`,
          [tenantId, userId ?? ''],
        )
        const result = await run(client)
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback')
        throw error
      } finally {
        client.release()
      }
    },
    async [Symbol.asyncDispose]() {
      await system.end()
      await owner.query(`drop owned by ${tenantRole}, ${systemRole}; drop role ${tenantRole}, ${systemRole}`)
      await owner.end()
      await database.drop()
    },
  }
}
