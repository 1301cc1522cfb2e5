import type { RelayClient, RelayPool } from './relay-options.ts'

const guarded = new WeakSet<RelayClient>()

/**
 * Takes a client out of the pool. While it is out, the pool does not listen for its errors, and one that nobody hears
 * ends the process; whoever uses the client learns of it from the query that fails.
 */
export async function checkOut(pool: RelayPool): Promise<RelayClient> {
  const client = await pool.connect()
  if (!guarded.has(client)) {
    guarded.add(client)
    client.on('error', () => undefined)
  }
  return client
}
