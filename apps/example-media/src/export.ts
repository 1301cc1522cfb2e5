import { exportWorker } from '@quintet/example-platform/export'
import { defineKeyset } from '@quintet/rls/data'
import { viewObject } from './objects.ts'
import type { MediaServices } from './services.ts'

const inOrder = defineKeyset([{ column: 'id', type: 'uuid' }])

/** What is known of the objects of a user or tenant. Their bytes are where their content is. */
export const exporter = exportWorker<MediaServices>('media', async ({ db }, { tenantId, userId }, after) => {
  const objects = db
    .selectFrom('objects')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('status', '=', 'ready')
    .$if(userId !== undefined, (query) => query.where('owner_id', '=', userId ?? ''))
  const { items, next } = await inOrder.page(objects, { limit: 500, after })
  return { items: items.map((object) => ({ kind: 'object', ...viewObject(object) })), next }
})
