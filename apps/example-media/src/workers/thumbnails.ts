import { withServices } from '@quintet/core'
import { worker, type JobCall } from '@quintet/queue'
import { eraser } from '../erase.ts'
import { exporter } from '../export.ts'
import { getObject, markThumbnail } from '../objects.ts'
import { reconcileObjects } from '../reconcile.ts'
import type { MediaServices } from '../services.ts'
import { newObjects, thumbnailVariant } from '../thumbnail-events.ts'

const transform = { width: 160, height: 640, format: 'webp', quality: 75 } as const

const thumbnails = worker(newObjects, { queue: ({ jobs }: MediaServices) => jobs, concurrency: 2 }, make)

/** Makes the thumbnail of an image that has just been stored. */
async function make({
  payload: { data },
  services,
  principal,
  signal,
}: JobCall<typeof newObjects, MediaServices>): Promise<void> {
  if (data.imageFormat === null) return
  const { db, files, events } = services
  const { tenantId } = principal
  const object = await getObject(db, data.objectId)
  const renders = await services.renders()
  const path = files.pathOf(tenantId, object.id)
  const thumbnail = await renders.render({ tenantId, userId: object.owner_id }, { path, transform }, signal)
  await files.writeVariant(tenantId, object.id, thumbnailVariant, thumbnail)
  await db.transaction().execute(async (trx) => {
    if (!(await markThumbnail(trx, object.id))) return
    await events.publish(trx, 'media.thumbnail-made', {
      objectId: object.id,
      ownerId: object.owner_id,
      name: object.name,
    })
  })
}

export default withServices<MediaServices>().defineProcess({
  workers: [thumbnails, eraser, exporter],
  hooks: {
    afterStart: ({ services: { db, files }, lifecycle, logger }) => {
      lifecycle.setInterval(async () => {
        const put = await reconcileObjects(db, files, lifecycle.signal)
        if (put > 0) logger.info({ objects: put }, 'files and rows reconciled')
      }, '1m')
    },
  },
})
