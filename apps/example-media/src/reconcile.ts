import { asSystem } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'
import type { ObjectFiles } from './object-files.ts'
import type { MediaTables } from './schema.ts'

/** How many objects are put right in one transaction. */
const batch = 100

/**
 * Puts right what crashes have left, across all tenants: the row of an object is written before its file and outlives it,
 * so that every file has a row. Uploads that were given up and objects that are removed lose file and row.
 *
 * @returns how many there were.
 */
export async function reconcileObjects(
  db: Kysely<MediaTables>,
  files: ObjectFiles,
  signal?: AbortSignal,
): Promise<number> {
  let [put, last] = [0, batch]
  while (last === batch) {
    signal?.throwIfAborted()
    last = await asSystem('reconcile objects and files', () =>
      db.transaction().execute(async (trx) => {
        const left = await trx
          .selectFrom('objects')
          .select(['id', 'tenant_id'])
          .where((row) =>
            row.or([
              row('status', '=', 'removed'),
              // Uploads touch their row each minute, as long as bytes come.
              row.and([
                row('status', '=', 'pending'),
                row('touched_at', '<', sql<Date>`now() - interval '10 minutes'`),
              ]),
            ]),
          )
          .limit(batch)
          .forUpdate()
          .skipLocked()
          .execute()
        for (const { id, tenant_id } of left) await files.remove(tenant_id, id)
        const ids = left.map(({ id }) => id)
        if (ids.length > 0) await trx.deleteFrom('objects').where('id', 'in', ids).execute()
        return left.length
      }),
    )
    put += last
  }
  return put
}
