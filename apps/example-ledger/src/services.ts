import type { JwtAuthManager } from '@quintet/auth'
import { createVerifier } from '@quintet/auth/app'
import type { SetupContext } from '@quintet/core'
import { openDatabase, type Database } from '@quintet/rls/app'
import { announcedEvents, countedEvents, topics, type PlatformTopics } from '@quintet/example-platform/events'
import { createEventBus, type EventBus, type Queue } from '@quintet/queue'
import { openQueue } from '@quintet/queue/app'
import { openRedis } from '@quintet/redis/app'
import type { LedgerConfig } from './config.ts'
import type { LedgerTables } from './schema.ts'

export interface LedgerServices extends Database<LedgerTables> {
  readonly jobs: Queue
  readonly events: EventBus<PlatformTopics>
  readonly verifier: JwtAuthManager
}

export async function createLedgerServices(context: SetupContext<LedgerConfig>): Promise<LedgerServices> {
  const redis = await openRedis(context)
  const database = openDatabase<LedgerTables>(context)
  const jobs = openQueue(context, redis)
  return {
    ...database,
    jobs,
    verifier: createVerifier(context, redis, { commandTimeout: '1s' }),
    events: createEventBus({
      topics,
      queue: jobs,
      pool: database.systemPool,
      to: [countedEvents, announcedEvents],
    }),
  }
}
