import type { AuthManager, HealthCheck, SetupContext } from '@quintet/core'
import { openDatabase } from '@quintet/example-platform/database'
import { createEventBus, type EventBus } from '@quintet/example-platform/event-bus'
import { createVerifier } from '@quintet/example-platform/verifier'
import { createRedisClients } from '@quintet/redis'
import type { Kysely } from 'kysely'
import type { Pool } from 'pg'
import type { LedgerConfig } from './config.ts'
import type { LedgerTables } from './schema.ts'

export interface LedgerServices {
  /** What the app cannot work without. */
  readonly checks: readonly HealthCheck[]
  readonly db: Kysely<LedgerTables>
  /** Connections of the system login. */
  readonly systemPool: Pool
  readonly events: EventBus
  readonly verifier: AuthManager
}

export async function createLedgerServices(context: SetupContext<LedgerConfig>): Promise<LedgerServices> {
  const { config, logger, lifecycle } = context
  const { database, redis: redisConfig, identity, secrets } = config
  const redis = lifecycle.use(await createRedisClients({ url: redisConfig.url, logger, bootCheck: 'refuse' }))
  const { db, systemPool, check } = openDatabase<LedgerTables>({ config: database, logger, lifecycle })
  return {
    checks: [redis.healthCheck(), check],
    db,
    systemPool,
    events: createEventBus({ redis, systemPool, secret: secrets.jobs }),
    verifier: createVerifier({ logger, redis, identity, cnf: secrets.cnf }),
  }
}
