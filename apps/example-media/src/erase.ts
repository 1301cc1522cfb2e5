import { erasureWorker } from '@quintet/example-platform/erasure'
import { asSystem } from '@quintet/rls'
import type { MediaServices } from './services.ts'

/** Erases the objects of users and tenants that are removed, with their files. */
export const eraser = erasureWorker<MediaServices>(
  'media',
  async ({ db, files }, { tenantId, userId }, signal) => {
    await asSystem('erase the objects of a user or tenant', async () => {
      const objects = db
        .selectFrom('objects')
        .select('id')
        .where('tenant_id', '=', tenantId)
        .$if(userId !== undefined, (query) => query.where('owner_id', '=', userId ?? ''))
        .limit(500)
      for (let ids = await objects.execute(); ids.length > 0; ids = await objects.execute()) {
        signal.throwIfAborted()
        // The files first: a row without a file is found again, a file without a row is not.
        for (const { id } of ids) await files.remove(tenantId, id)
        const rows = ids.map(({ id }) => id)
        await db.deleteFrom('objects').where('tenant_id', '=', tenantId).where('id', 'in', rows).execute()
      }
      if (userId === undefined) await db.deleteFrom('usage').where('tenant_id', '=', tenantId).execute()
    })
  },
)
