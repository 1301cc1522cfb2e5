import { execute, type SqlExecutor } from './sql-executor.ts'

/** Rows that go with one statement, which stays far below any time limit. */
const atOnce = 5_000

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
  const batch = `select ctid from ${table} where ${where} limit ${atOnce}`
  let deleted = 0
  for (;;) {
    const rows = await execute(
      executor,
      `delete from ${table} where ctid = any (array(${batch})) returning 1`,
      [...values],
    )
    if (rows.length === 0) return deleted
    deleted += rows.length
  }
}
