import { inTime } from '../in-time.ts'
import type { RelayClient, RelayPool } from './relay-options.ts'

const guarded = new WeakSet<RelayClient>()

/**
 * Takes a client out of the pool, in time. While it is out, the pool does not listen for its errors, and one that
 * has no listener ends the process; whoever uses the client learns of it from the query that fails.
 */
export async function checkOut(pool: RelayPool, timeout: number): Promise<RelayClient> {
  const client = await inTime(pool.connect(), timeout, 'The pool gave no connection to PostgreSQL', {
    onLate: (late) => late.release(),
  })
  if (!guarded.has(client)) {
    guarded.add(client)
    client.on('error', () => undefined)
  }
  return client
}
