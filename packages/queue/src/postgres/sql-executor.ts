/** Runs one statement with parameters; a `pg` client or pool fits. */
export interface PgExecutor {
  query(
    text: string,
    values: unknown[],
  ): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>
}

/** A Kysely database or transaction, as far as it is needed. */
export interface KyselyExecutor {
  executeQuery(
    query: never,
  ): Promise<{ readonly rows: unknown[]; readonly numAffectedRows?: bigint | undefined }>
  withoutPlugins?(): KyselyExecutor
}

/** The transaction in which something is written: a `pg` client that has begun one, or Kysely's. */
export type SqlExecutor = PgExecutor | KyselyExecutor

/** Runs a statement and returns its rows. The plugins of a Kysely do not see it: one may rename the columns. */
export async function execute<Row>(
  executor: SqlExecutor,
  text: string,
  values: unknown[],
): Promise<readonly Row[]> {
  if ('executeQuery' in executor) {
    const query = {
      sql: text,
      parameters: values,
      query: { kind: 'RawNode', sqlFragments: [text], parameters: [] },
      queryId: { queryId: 'quintet-queue' },
    }
    const plain = executor.withoutPlugins?.() ?? executor
    return (await plain.executeQuery(query as never)).rows as Row[]
  }
  return (await executor.query(text, values)).rows as Row[]
}

/**
 * Refuses what is plainly no transaction: a pool, whose every statement commits by itself, and a Kysely outside of one.
 *
 * @throws TypeError
 */
export function assertTransaction(executor: SqlExecutor, path: string): void {
  const { isTransaction, totalCount, idleCount } = executor as Partial<
    Record<'isTransaction' | 'totalCount' | 'idleCount', unknown>
  >
  const isPool = typeof totalCount === 'number' && typeof idleCount === 'number'
  if (isTransaction === false || isPool) {
    throw new TypeError(
      `${path}: needs a transaction, and got ${isPool ? 'a pool' : 'a Kysely outside of one'}, where each statement commits by itself.`,
    )
  }
}
