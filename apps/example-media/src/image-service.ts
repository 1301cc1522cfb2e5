import { QuintetError, service, withServices } from '@quintet/core'
import { z } from 'zod'
import { Transform, transformImage } from './image.ts'
import { getObject } from './objects.ts'
import type { MediaServices } from './services.ts'

const { procedure } = withServices<MediaServices>()

/** Work on images that would block the event loop of a process that answers requests. Called by siblings alone. */
export const images = service('images', {
  render: procedure(
    {
      access: 'authenticated',
      description: 'An image of the tenant in another size or format.',
      input: Transform.extend({ objectId: z.uuid() }),
      output: z.object({ bytes: z.instanceof(Uint8Array) }),
    },
    async ({ input: { objectId, ...transform }, services, principal }) => {
      const object = await getObject(services.db, objectId)
      if (!object.content_type.startsWith('image/')) {
        throw new QuintetError(`The object is ${object.content_type}, not an image.`, {
          code: 'ERR_MEDIA_NOT_AN_IMAGE',
          kind: 'unsupported',
        })
      }
      return { bytes: await transformImage(services.files.pathOf(principal.tenantId, object.id), transform) }
    },
  ),
})
