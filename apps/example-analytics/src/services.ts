import { createVerifier } from '@quintet/auth/app'
import type { AuthManager, SetupContext } from '@quintet/core'
import { openDatabase, type Database } from '@quintet/rls/app'
import type { Queue } from '@quintet/queue'
import { openQueue } from '@quintet/queue/app'
import { openRedis } from '@quintet/redis/app'
import type { AnalyticsConfig } from './config.ts'
import type { AnalyticsTables } from './schema.ts'

export interface AnalyticsServices extends Database<AnalyticsTables> {
  readonly verifier: AuthManager
  readonly jobs: Queue
  readonly retentionDays: number
}

export async function createAnalyticsServices(
  context: SetupContext<AnalyticsConfig>,
): Promise<AnalyticsServices> {
  const redis = await openRedis(context)
  return {
    ...openDatabase<AnalyticsTables>(context),
    verifier: createVerifier(context, redis, { commandTimeout: '1s' }),
    jobs: openQueue(context, redis),
    retentionDays: context.config.retentionDays,
  }
}
