import type { SessionTransaction } from '../sessions/session-store.ts'

/**
 * Runs a statement in a transaction of the caller's. The plugins of a Kysely do not see it: one may rename the columns.
 *
 * @throws TypeError for what is plainly none: a pool, whose every statement commits by itself, or a Kysely outside of one.
 */
export async function runWithin<Row>(
  transaction: SessionTransaction,
  text: string,
  values: readonly unknown[],
): Promise<Row[]> {
  const { isTransaction, totalCount } = transaction as { isTransaction?: unknown; totalCount?: unknown }
  if (isTransaction === false || typeof totalCount === 'number') {
    throw new TypeError('revokeWithin: needs a transaction; here each statement would commit by itself.')
  }
  if (!('executeQuery' in transaction)) return (await transaction.query(text, [...values])).rows as Row[]
  const query = {
    sql: text,
    parameters: values,
    query: { kind: 'RawNode', sqlFragments: [text], parameters: [] },
    queryId: { queryId: 'quintet-auth' },
  }
  const plain = transaction.withoutPlugins?.() ?? transaction
  return (await plain.executeQuery(query as never)).rows as Row[]
}
