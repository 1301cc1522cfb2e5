import { createVerifier } from '@quintet/auth/app'
import { lazy, type AuthManager, type Lazy, type SetupContext } from '@quintet/core'
import { openDatabase, type Database } from '@quintet/rls/app'
import { announcedEvents, countedEvents, topics, type PlatformTopics } from '@quintet/example-platform/events'
import { createEventBus, type EventBus, type Queue } from '@quintet/queue'
import { openQueue } from '@quintet/queue/app'
import { createTrackedCache } from '@quintet/redis'
import { openRedis } from '@quintet/redis/app'
import { createClient, type Client } from '@quintet/server/client'
import type { MediaConfig, Quota } from './config.ts'
import type { images } from './images/image-service.ts'
import { createRenderPool, type RenderPool } from './images/render-pool.ts'
import { createObjectFiles, type ObjectFiles } from './object-files.ts'
import type { MediaTables } from './schema.ts'
import { newObjects } from './thumbnail-events.ts'

export interface MediaServices extends Database<MediaTables> {
  readonly files: ObjectFiles
  readonly quota: Quota
  readonly jobs: Queue
  readonly events: EventBus<PlatformTopics>
  readonly verifier: AuthManager
  /** For the processes that make images. */
  readonly renders: Lazy<RenderPool>
  /** The sibling that works on images; for the process that may call it. */
  readonly images: Lazy<Client<typeof images, Uint8Array>['images']>
}

export async function createMediaServices(context: SetupContext<MediaConfig>): Promise<MediaServices> {
  const redis = await openRedis(context)
  const database = openDatabase<MediaTables>(context)
  const jobs = openQueue(context, redis)
  return {
    ...database,
    jobs,
    files: createObjectFiles(context.config.directory),
    quota: context.config.quota,
    // Connections and uploads end with the session of their user.
    verifier: createVerifier(context, redis, {
      commandTimeout: '1s',
      track: (options) =>
        createTrackedCache({ client: redis.client('sessions'), logger: context.logger, ...options }),
    }),
    events: createEventBus({
      topics,
      queue: jobs,
      pool: database.systemPool,
      to: [newObjects, countedEvents, announcedEvents],
    }),
    renders: lazy(() => createRenderPool()),
    images: lazy(() => createClient<typeof images>(context.sibling('image-transform')).images),
  }
}
