import type { Secret, SetupContext } from '@quintet/core'
import { createRlsPool, databaseRoles } from '@quintet/rls'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool } from 'pg'

/** An app's database: what its tenants see, and its pools. */
export interface Database<Tables> {
  /** Held to the tenant of the running call; under `asSystem`, to the rights of the system login. */
  readonly db: Kysely<Tables>
  /** Connections of the system login, for relays and leases. */
  readonly systemPool: Pool
}

interface DatabaseConfig {
  readonly database: { readonly url: Secret; readonly systemUrl: Secret }
}

/** Opens the database of an app: the process is not ready while it does not answer, and ends both pools when it stops. */
export function openDatabase<Tables>(
  context: Pick<SetupContext<DatabaseConfig>, 'config' | 'logger' | 'lifecycle' | 'health'>,
  { connections = 8 }: { readonly connections?: number } = {},
): Database<Tables> {
  const { config, logger, lifecycle, health } = context
  const url = config.database.url.reveal()
  const { tenant } = databaseRoles(new URL(url).pathname.slice(1))
  const pool = new Pool({ connectionString: url, max: connections, idleTimeoutMillis: 30_000 })
  const systemPool = new Pool({
    connectionString: config.database.systemUrl.reveal(),
    max: 4,
    idleTimeoutMillis: 30_000,
  })
  for (const each of [pool, systemPool]) {
    each.on('error', (error) => logger.warn({ err: error }, 'a database connection was lost'))
  }
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: createRlsPool(pool, { role: tenant, system: systemPool, logger }) }),
  })
  // Ends both pools.
  lifecycle.onStop('database', () => db.destroy())
  for (const [name, each] of [
    ['postgres', pool],
    ['postgres system', systemPool],
  ] as const) {
    health.add({ name, check: async () => void (await each.query('select 1')) })
  }
  return { db, systemPool }
}
