import type { AuthManager, HealthCheck, SetupContext } from '@quintet/core'
import { openDatabase } from '@quintet/example-platform/database'
import { createJobQueue } from '@quintet/example-platform/event-bus'
import { createVerifier } from '@quintet/example-platform/verifier'
import type { Queue } from '@quintet/queue'
import { createRedisClients } from '@quintet/redis'
import type { Kysely } from 'kysely'
import type { AnalyticsConfig } from './config.ts'
import type { AnalyticsTables } from './schema.ts'

export interface AnalyticsServices {
  /** What the app cannot work without. */
  readonly checks: readonly HealthCheck[]
  readonly db: Kysely<AnalyticsTables>
  readonly verifier: AuthManager
  readonly jobs: Queue
}

export async function createAnalyticsServices(
  context: SetupContext<AnalyticsConfig>,
): Promise<AnalyticsServices> {
  const { config, logger, lifecycle } = context
  const { database, redis: redisConfig, identity, secrets } = config
  const redis = lifecycle.use(await createRedisClients({ url: redisConfig.url, logger, bootCheck: 'refuse' }))
  const { db, check } = openDatabase<AnalyticsTables>({ config: database, logger, lifecycle })
  return {
    checks: [redis.healthCheck(), check],
    db,
    verifier: createVerifier({ logger, redis, identity, cnf: secrets.cnf }),
    jobs: lifecycle.use(createJobQueue(redis, secrets.jobs)),
  }
}
