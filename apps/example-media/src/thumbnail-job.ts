import { defineJob } from '@quintet/queue'
import { z } from 'zod'

/** Makes the thumbnail of an object that has just been stored. */
export const makeThumbnail = defineJob('make-thumbnail', {
  payload: z.strictObject({ objectId: z.uuid() }),
  attempts: 5,
  backoff: '500ms',
})

/** The name under which the files of an object keep its thumbnail. */
export const thumbnailVariant = 'thumbnail'
