import { service, withServices } from '@quintet/core'
import { z } from 'zod'
import { deleteObject, getObject, listObjects, ObjectView, viewObject } from './objects.ts'
import type { MediaServices } from './services.ts'

const { procedure } = withServices<MediaServices>()

/** What is known of the objects of the caller's tenant. Their bytes go over the routes. */
export const objects = service('objects', {
  list: procedure(
    {
      access: 'authenticated',
      description: "Lists the tenant's objects, newest first.",
      input: z.strictObject({
        limit: z.int().min(1).max(100).default(50),
        after: z.string().max(500).optional(),
      }),
      /** `next` is the `after` of the page that follows; null on the last one. */
      output: z.object({ items: z.array(ObjectView), next: z.string().nullable() }),
    },
    async ({ input, services }) => {
      const { items, next } = await listObjects(services.db, input)
      return { items: items.map(viewObject), next }
    },
  ),

  get: procedure(
    {
      access: 'authenticated',
      description: 'Describes one object.',
      input: z.strictObject({ id: z.uuid() }),
      output: ObjectView,
    },
    async ({ input, services }) => viewObject(await getObject(services.db, input.id)),
  ),

  remove: procedure(
    {
      access: 'authenticated',
      description: 'Removes an object and its thumbnail.',
      input: z.strictObject({ id: z.uuid() }),
      output: z.object({ id: z.uuid() }),
    },
    async ({ input, services, principal }) => {
      await services.db.transaction().execute(async (trx) => {
        const object = await deleteObject(trx, input.id)
        await services.events.publish(trx, 'media.object-removed', {
          objectId: object.id,
          ownerId: object.owner_id,
          name: object.name,
        })
      })
      await services.files.remove(principal.tenantId, input.id)
      return { id: input.id }
    },
  ),
})
