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
}

/** The transaction in which something is written: a `pg` client that has begun one, or Kysely's. */
export type SqlExecutor = PgExecutor | KyselyExecutor

/** Runs a statement and returns its rows. */
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
    return (await executor.executeQuery(query as never)).rows as Row[]
  }
  return (await executor.query(text, values)).rows as Row[]
}
