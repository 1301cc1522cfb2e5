import { createApp, defineProcess, defineSystem, silentLogger, systemPrincipal } from '@quintet/core'
import { createQueue, defineJob, worker } from '@quintet/queue'
import { Redis } from 'ioredis'
import { z } from 'zod'

// Shared by who adds the job and who runs it.
const makeThumbnail = defineJob('make-thumbnail', {
  payload: z.object({ objectId: z.string(), width: z.number() }),
  access: 'system',
})
const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
const secret = process.env['QUEUE_SECRET'] ?? 'for-this-example-and-never-in-production'
const queue = createQueue({ connection: redis, secret })
const done = Promise.withResolvers<void>()

// What the handler throws is tried again, later each time.
const thumbnails = worker(makeThumbnail, { queue, concurrency: 2 }, ({ payload, principal, attempt }) => {
  console.log(`thumbnail of ${payload.objectId} for ${principal.tenantId}, attempt ${attempt}`)
  done.resolve()
})
const jobs = defineProcess({ workers: [thumbnails] })
const media = defineSystem({
  name: 'media',
  version: '1.0.0',
  processes: [{ name: 'jobs', module: async () => ({ default: jobs }) }],
})
const app = await createApp(media, { logger: silentLogger })

// Within a call, the principal of the caller goes along by itself.
const principal = systemPrincipal('example', 'tenant-a')
await queue.enqueue(makeThumbnail, { objectId: 'o-1', width: 160 }, { principal })

await done.promise
await app.stop()
await queue.close()
redis.disconnect()
