import { option, readOptions } from '@quintet/core/kit'
import { sql, type Kysely, type RawBuilder } from 'kysely'

export interface DeleteInBatchesOptions {
  /** Rows that go with one statement. @defaultValue 5 000 */
  readonly batch?: number
  /** Between two statements the deletion stops; what is gone stays gone. */
  readonly signal?: AbortSignal
}

export const deleteInBatchesDefaults = Object.freeze({ batch: 5_000 } as const)

/** Batches one after the other of which no row goes: each waits for the sessions that change its rows. */
const mostVain = 100

const spec = {
  batch: option.count(deleteInBatchesDefaults.batch, { min: 1 }),
  signal: option.signal().optional(),
}

/**
 * Deletes rows in batches, each a statement and a transaction of its own: as many as there are, none takes longer than a
 * `statement_timeout` allows or holds its locks meanwhile, and what breaks off goes on where it was.
 *
 * @returns how many.
 * @throws Error where rows that match are kept by a policy or a trigger.
 *
 * @example
 * await asSystem('prune', () => deleteInBatches(db, 'logs', sql`created_at < now() - interval '30 days'`))
 */
export async function deleteInBatches<Database>(
  db: Kysely<Database>,
  table: string,
  where: RawBuilder<unknown>,
  options: DeleteInBatchesOptions = {},
): Promise<number> {
  const { batch, signal } = readOptions<DeleteInBatchesOptions, typeof spec>(options, spec, 'deleteInBatches')
  if (db.isTransaction) throw new TypeError('deleteInBatches: needs a database, not a transaction.')
  const name = sql.table(table)
  let deleted = 0
  let vain = 0
  for (;;) {
    signal?.throwIfAborted()
    // Where a row is stored says which one it is within one partition or child alone.
    const { rows } = await sql<{ found: number; gone: number }>`
      with found as (select tableoid as part, ctid as place from ${name} where (${where}) limit ${batch}),
      gone as (
        delete from ${name} where ctid = any (array(select place from found))
          and (tableoid, ctid) in (select part, place from found) and (${where})
        returning 1
      )
      select (select count(*)::int from found) as found, (select count(*)::int from gone) as gone`.execute(db)
    const { found = 0, gone = 0 } = rows[0] ?? {}
    if (found === 0) return deleted
    deleted += gone
    // A row that another session has changed meanwhile has moved, and the next batch finds it.
    vain = gone === 0 ? vain + 1 : 0
    if (vain === mostVain) {
      throw new Error(
        `deleteInBatches: rows of ${table} match and cannot be deleted: a policy or trigger keeps them.`,
      )
    }
  }
}
