import type { HealthCheck, Lifecycle, Logger, Secret } from '@quintet/core'
import { createRlsPool, databaseRoles } from '@quintet/rls'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool } from 'pg'

/** An app's database: what its tenants see, and its pools. */
export interface Database<Tables> {
  /** Held to the tenant of the running call; under `asSystem`, to the rights of the system login. */
  readonly db: Kysely<Tables>
  /** Connections of the system login, for relays and leases. */
  readonly systemPool: Pool
  /** Whether PostgreSQL answers. */
  readonly check: HealthCheck
}

/** Opens the database of an app. Both pools end with the process. */
export function openDatabase<Tables>(options: {
  readonly config: { readonly url: Secret; readonly systemUrl: Secret }
  readonly logger: Logger
  readonly lifecycle: Lifecycle
  /** Connections for calls. @defaultValue 8 */
  readonly connections?: number
}): Database<Tables> {
  const { config, logger, lifecycle, connections = 8 } = options
  const url = config.url.reveal()
  const { tenant } = databaseRoles(new URL(url).pathname.slice(1))
  const pool = new Pool({ connectionString: url, max: connections, idleTimeoutMillis: 30_000 })
  const systemPool = new Pool({
    connectionString: config.systemUrl.reveal(),
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
  const check: HealthCheck = {
    name: 'postgres',
    check: async () => {
      await systemPool.query('select 1')
    },
  }
  return { db, systemPool, check }
}
