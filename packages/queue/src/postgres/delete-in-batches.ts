import { execute, type SqlExecutor } from './sql-executor.ts'

/** Rows that go with one statement, which stays far below any time limit. */
const atOnce = 5_000

/** Batches one after the other of which no row goes: each waits for the sessions that change its rows. */
const mostVain = 100

/**
 * Deletes rows in batches, each a statement of its own.
 *
 * @returns how many.
 */
export async function deleteInBatches(
  executor: SqlExecutor,
  table: 'inbox' | 'outbox',
  where: string,
  values: readonly unknown[],
): Promise<number> {
  // Where a row is stored says which one it is within one partition alone.
  const batch = `with found as (select tableoid as part, ctid as place from ${table} where ${where} limit ${atOnce}),
    gone as (
      delete from ${table} where ctid = any (array(select place from found))
        and (tableoid, ctid) in (select part, place from found) and ${where}
      returning 1
    )
    select (select count(*)::int from found) as found, (select count(*)::int from gone) as gone`
  let deleted = 0
  let vain = 0
  for (;;) {
    const [row] = (await execute(executor, batch, [...values])) as { found: number; gone: number }[]
    if (row === undefined || row.found === 0) return deleted
    deleted += row.gone
    // A row that another session has changed meanwhile has moved, and the next batch finds it.
    vain = row.gone === 0 ? vain + 1 : 0
    if (vain === mostVain) throw new Error(`Rows of ${table} match and cannot be deleted.`)
  }
}
