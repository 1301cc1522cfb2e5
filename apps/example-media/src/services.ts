import type { AuthManager, HealthCheck, SetupContext } from '@quintet/core'
import { openDatabase } from '@quintet/example-platform/database'
import { createEventBus, createJobQueue, type EventBus } from '@quintet/example-platform/event-bus'
import type { PlatformEvent } from '@quintet/example-platform/events'
import { createVerifier } from '@quintet/example-platform/verifier'
import type { EnqueueOptions, Queue } from '@quintet/queue'
import { createRedisClients } from '@quintet/redis'
import { createClient, type Client } from '@quintet/server/client'
import type { Kysely } from 'kysely'
import type { MediaConfig } from './config.ts'
import type { images } from './images/image-service.ts'
import { createRenderPool, type RenderPool } from './images/render-pool.ts'
import { createObjectFiles, type ObjectFiles } from './object-files.ts'
import type { MediaTables } from './schema.ts'
import { makeThumbnail } from './thumbnail-job.ts'

export interface MediaServices {
  /** What the app cannot work without. */
  readonly checks: readonly HealthCheck[]
  readonly db: Kysely<MediaTables>
  readonly files: ObjectFiles
  readonly events: EventBus
  readonly verifier: AuthManager
  /** For the process that runs jobs. */
  readonly jobs: Queue
  /** For the processes that make images. */
  readonly renders: RenderPool
  /** The sibling that works on images; for the process that may call it. */
  readonly images: Client<typeof images, Uint8Array>['images']
}

export async function createMediaServices(context: SetupContext<MediaConfig>): Promise<MediaServices> {
  const { config, logger, lifecycle, sibling } = context
  const { database, redis: redisConfig, identity, secrets } = config
  const redis = lifecycle.use(await createRedisClients({ url: redisConfig.url, logger, bootCheck: 'refuse' }))
  const { db, systemPool, check } = openDatabase<MediaTables>({ config: database, logger, lifecycle })
  let client: MediaServices['images'] | undefined
  let jobs: Queue | undefined
  let renders: RenderPool | undefined
  return {
    checks: [redis.healthCheck(), check],
    db,
    files: createObjectFiles(config.directory),
    events: createEventBus({ redis, systemPool, secret: secrets.jobs, follow: orderThumbnail }),
    verifier: createVerifier({ logger, redis, identity, cnf: secrets.cnf }),
    get jobs() {
      return (jobs ??= lifecycle.use(createJobQueue(redis, secrets.jobs)))
    },
    get renders() {
      return (renders ??= lifecycle.use(createRenderPool()))
    },
    get images() {
      return (client ??= createClient<typeof images>(sibling('image-transform')).images)
    },
  }
}

/** An image that has just been stored gets a thumbnail. */
async function orderThumbnail(event: PlatformEvent, queue: Queue, settings: EnqueueOptions): Promise<void> {
  const { objectId, imageFormat } = event.data
  if (event.topic !== 'media.object-stored' || imageFormat === null) return
  await queue.enqueue(makeThumbnail, { objectId: String(objectId) }, settings)
}
