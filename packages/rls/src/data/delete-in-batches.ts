import { option, readOptions } from '@quintet/core/kit'
import { sql, type Kysely, type RawBuilder } from 'kysely'

export interface DeleteInBatchesOptions {
  /** Rows that go with one statement. @defaultValue 5 000 */
  readonly batch?: number
  /** Between two statements the deletion stops; what is gone stays gone. */
  readonly signal?: AbortSignal
}

export const deleteInBatchesDefaults = Object.freeze({ batch: 5_000 } as const)

const spec = {
  batch: option.count(deleteInBatchesDefaults.batch, { min: 1 }),
  signal: option.signal().optional(),
}

/**
 * Deletes rows in batches, each a statement and a transaction of its own: as many as there are, none takes longer than a
 * `statement_timeout` allows or holds its locks meanwhile, and what breaks off goes on where it was.
 *
 * @returns how many.
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
  for (;;) {
    signal?.throwIfAborted()
    const { numAffectedRows = 0n } = await sql`
      delete from ${name} where ctid = any (array(select ctid from ${name} where ${where} limit ${batch}))`.execute(
      db,
    )
    // A row that was changed meanwhile has moved, and is found by the next one.
    if (numAffectedRows === 0n) return deleted
    deleted += Number(numAffectedRows)
  }
}
