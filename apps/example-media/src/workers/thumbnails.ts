import { withServices } from '@quintet/core'
import { worker, type JobCall } from '@quintet/queue'
import { transformImage } from '../image.ts'
import { getObject, markThumbnail } from '../objects.ts'
import type { MediaServices } from '../services.ts'
import { makeThumbnail } from '../thumbnail-job.ts'

const thumbnailWidth = 160

const thumbnails = worker(makeThumbnail, { queue: ({ jobs }: MediaServices) => jobs, concurrency: 2 }, make)

async function make({
  payload,
  services,
  principal,
}: JobCall<typeof makeThumbnail, MediaServices>): Promise<void> {
  const { db, files, events } = services
  const object = await getObject(db, payload.objectId)
  const path = files.pathOf(principal.tenantId, object.id)
  const thumbnail = await transformImage(path, { width: thumbnailWidth, format: 'webp', quality: 75 })
  await files.write(principal.tenantId, object.id, 'thumbnail', thumbnail)
  await db.transaction().execute(async (trx) => {
    if (!(await markThumbnail(trx, object.id))) return
    await events.publish(trx, 'media.thumbnail-made', principal, { objectId: object.id, name: object.name })
  })
}

export default withServices<MediaServices>().defineProcess({ workers: [thumbnails] })
