import type { Queryable } from './queryable.ts'

/** @throws TypeError for a pool, each of whose statements may go to another connection, outside of the transaction. */
export function refusePool(connection: Queryable, at: string): void {
  if ('idleCount' in connection)
    throw new TypeError(
      `${at}: needs a connection of its own. Give a Client, or what pool.connect() returns.`,
    )
}

/** Runs in a transaction that is rolled back, or in a savepoint of the transaction that is open. */
export async function inRolledBackTransaction<Result>(
  connection: Queryable,
  run: () => Promise<Result>,
): Promise<Result> {
  const nested = await connection.query('savepoint quintet_rolled_back').then(
    () => true,
    (error: unknown) => {
      if ((error as { code?: unknown }).code !== '25P01') throw error
      return false
    },
  )
  if (!nested) await connection.query('begin')
  try {
    return await run()
  } finally {
    await connection.query(
      nested
        ? 'rollback to savepoint quintet_rolled_back; release savepoint quintet_rolled_back'
        : 'rollback',
    )
  }
}

export interface Attempted<Value> {
  readonly value?: Value
  readonly error?: unknown
}

/** Runs in a savepoint, so that the transaction outlives an error of it. */
export async function attempt<Value>(
  connection: Queryable,
  run: () => Promise<Value>,
): Promise<Attempted<Value>> {
  await connection.query('savepoint quintet_attempt')
  try {
    const value = await run()
    await connection.query('release savepoint quintet_attempt')
    return { value }
  } catch (error) {
    await connection.query('rollback to savepoint quintet_attempt; release savepoint quintet_attempt')
    return { error }
  }
}
