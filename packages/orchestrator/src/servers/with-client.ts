import type { Client } from 'pg'

/** Connects for as long as `use` takes. The driver is loaded at the first use: most commands need none. */
export async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const { Client: PgClient } = await import('pg')
  const client = new PgClient({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the command with a stack trace.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
