import { randomBytes } from 'node:crypto'
import { createRlsPool, type RlsPool } from '@quintet/rls'
import { createMigrator, provisionDatabase } from '@quintet/rls/migrations'
import { Client, Pool } from 'pg'

/** An app's database for one test file, provisioned and migrated as in production. */
export interface AppDatabase extends AsyncDisposable {
  /** Of the tenants' login. */
  readonly url: string
  /** Of the login for work across tenants. */
  readonly systemUrl: string
  /** Held to the context of the running code. */
  readonly pool: RlsPool
  /** Of the login that owns the tables. */
  readonly ownerUrl: string
  readonly systemPool: Pool
  /** The role that holds the tenants' rights. */
  readonly tenantRole: string
}

/** @param migrations the folder of the app's migrations. */
export async function openAppDatabase(adminUrl: string, migrations: string): Promise<AppDatabase> {
  const name = `test_${randomBytes(5).toString('hex')}`
  const { ownerUrl, url, systemUrl, roles } = await provisionDatabase({ adminUrl, name })
  await createMigrator({ ownerUrl, folder: migrations }).up()
  const systemPool = new Pool({ connectionString: systemUrl, max: 4 })
  const pool = createRlsPool(new Pool({ connectionString: url, max: 8 }), {
    role: roles.tenant,
    system: systemPool,
  })
  return {
    url,
    systemUrl,
    pool,
    ownerUrl,
    systemPool,
    tenantRole: roles.tenant,
    async [Symbol.asyncDispose]() {
      await pool.end()
      const admin = new Client({ connectionString: adminUrl })
      await admin.connect()
      await admin.query(`drop database ${name} with (force)`)
      for (const role of [roles.login, roles.system, roles.owner, roles.tenant])
        await admin.query(`drop role ${role}`)
      await admin.end()
    },
  }
}
