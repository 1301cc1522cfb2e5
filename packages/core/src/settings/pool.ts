import { orAborted, within } from '../timing/within.ts'
/** The part of a `pg` pool that settings need. */
export interface SettingsPool {
  connect(): Promise<SettingsClient>
}

export interface SettingsQuery {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}

export interface SettingsClient extends SettingsQuery {
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  /** With true the connection is closed instead of reused. */
  release(destroy?: boolean): void
}

/** How long a read waits for PostgreSQL, connection included, in milliseconds. */
const answerTimeout = 5_000

/**
 * Reads through a pool. A connection that was cut off without a word would keep a read waiting for many minutes; it is
 * closed in time, and the next read takes another.
 */
export function createReader(pool: SettingsPool): SettingsQuery {
  return {
    async query(text, values) {
      const late = `PostgreSQL gave no answer within ${answerTimeout} ms`
      // The connection is given back when the time is over, whatever its query does.
      const ask = (signal: AbortSignal) =>
        withClient(pool, async (client) => {
          signal.throwIfAborted()
          return await orAborted(client.query(text, values), signal)
        })
      return await within(answerTimeout, ask, late)
    },
  }
}

/** Runs something in one transaction: committed when it resolves, rolled back when it rejects. */
export async function inTransaction<Result>(
  pool: SettingsPool,
  run: (client: SettingsQuery) => Promise<Result>,
): Promise<Result> {
  return await withClient(pool, async (client) => {
    await client.query('begin')
    const result = await run(client)
    await client.query('commit')
    return result
  })
}

/** Runs something on a connection of its own, which is closed when that fails: its state is unknown then. */
async function withClient<Result>(
  pool: SettingsPool,
  run: (client: SettingsQuery) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  // While the connection is out, its pool does not listen, and an error event without a listener would end the process.
  client.on('error', ignore)
  let failed = true
  try {
    const result = await run(client)
    failed = false
    return result
  } finally {
    client.release(failed)
    client.off('error', ignore)
  }
}

const ignore = (): void => undefined
