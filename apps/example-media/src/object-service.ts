import { service, withServices } from '@quintet/core'
import { z } from 'zod'
import {
  forgetObject,
  getObject,
  listObjects,
  ObjectView,
  removeObject,
  shareObject,
  viewObject,
} from './objects.ts'
import type { MediaServices } from './services.ts'

const { procedure } = withServices<MediaServices>()

/** What is known of the objects of the caller's tenant. Their bytes go over the routes. */
export const objects = service('objects', {
  list: procedure(
    {
      access: 'authenticated',
      description:
        "Lists the caller's objects and those that are shared, newest first; to an owner of the tenant all.",
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

  share: procedure(
    {
      access: 'authenticated',
      description: 'Shares an object with all members of the tenant, or no more.',
      input: z.strictObject({ id: z.uuid(), shared: z.boolean() }),
      output: ObjectView,
    },
    async ({ input: { id, shared }, services }) => viewObject(await shareObject(services.db, id, shared)),
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
        const object = await removeObject(trx, input.id)
        await services.events.publish(trx, 'media.object-removed', {
          objectId: object.id,
          ownerId: object.owner_id,
          name: object.name,
        })
      })
      // What a crash leaves here is put right by the reconciler.
      await services.files.remove(principal.tenantId, input.id)
      await forgetObject(services.db, input.id)
      return { id: input.id }
    },
  ),
})
