import { InfrastructureError } from '../errors.ts'

/** @throws InfrastructureError `ERR_INFRASTRUCTURE_NOT_REACHABLE` when the server that `DATABASE_URL` names does not let us in. */
export async function assertDatabaseReachable(url: string): Promise<void> {
  const { Client } = await import('pg')
  let where = 'the server'
  try {
    const parsed = new URL(url)
    where = `${parsed.hostname}:${parsed.port || 5432}`
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
    client.on('error', () => undefined)
    await client.connect()
    await client.end()
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
    throw new InfrastructureError(
      `DATABASE_URL: ${where} cannot be used (${reason}). Correct it, or unset it to let a private PostgreSQL be started.`,
      { code: 'ERR_INFRASTRUCTURE_NOT_REACHABLE', cause },
    )
  }
}
