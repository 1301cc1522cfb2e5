import { withServices } from '@quintet/core'
import { worker, type JobCall } from '@quintet/queue'
import { getObject, markThumbnail } from '../objects.ts'
import type { MediaServices } from '../services.ts'
import { makeThumbnail, thumbnailVariant } from '../thumbnail-job.ts'

const transform = { width: 160, height: 160 * 4, format: 'webp', quality: 75 } as const

const thumbnails = worker(makeThumbnail, { queue: ({ jobs }: MediaServices) => jobs, concurrency: 2 }, make)

async function make({
  payload,
  services,
  principal,
  signal,
}: JobCall<typeof makeThumbnail, MediaServices>): Promise<void> {
  const { db, files, events, renders } = services
  const object = await getObject(db, payload.objectId)
  const path = files.pathOf(principal.tenantId, object.id)
  const thumbnail = await renders.render(principal.tenantId, { path, transform }, signal)
  await files.writeVariant(principal.tenantId, object.id, thumbnailVariant, thumbnail)
  await db.transaction().execute(async (trx) => {
    if (!(await markThumbnail(trx, object.id))) return
    await events.publish(trx, 'media.thumbnail-made', principal, { objectId: object.id, name: object.name })
  })
}

export default withServices<MediaServices>().defineProcess({ workers: [thumbnails] })
