import { QuintetError, service, withServices } from '@quintet/core'
import { z } from 'zod'
import { getObject } from '../objects.ts'
import type { MediaServices } from '../services.ts'
import { Transform, variantOf } from './transform.ts'

const { procedure } = withServices<MediaServices>()

/** Work on images, which a process that answers requests must not do. Called by siblings alone. */
export const images = service('images', {
  render: procedure(
    {
      access: 'authenticated',
      description: 'Makes an image of the tenant in another size or format, and keeps it.',
      input: Transform.extend({ objectId: z.uuid() }),
      output: z.object({ variant: z.string() }),
    },
    async ({ input: { objectId, ...transform }, services, principal, signal }) => {
      const { files, db } = services
      const object = await getObject(db, objectId)
      if (object.image_format === null) {
        throw new QuintetError('The object is not an image of a known format.', {
          code: 'ERR_MEDIA_NOT_AN_IMAGE',
          kind: 'invalid-input',
        })
      }
      const { tenantId } = principal
      const path = files.pathOf(tenantId, objectId)
      const renders = await services.renders()
      const bytes = await renders.render(principal, { path, transform }, signal)
      const variant = variantOf(transform)
      await files.writeVariant(tenantId, objectId, variant, bytes)
      return { variant }
    },
  ),
})
