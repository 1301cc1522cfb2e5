import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRunning } from '../../processes/process-identity.ts'
import type { HeldServer } from '../held-server.ts'
import { adoptServerProcess } from '../server-process.ts'
import { readPassword } from './postgres-data.ts'
import { postgresServer, stopping, type PostgresServer } from './start-postgres.ts'

/**
 * Takes over a PostgreSQL that an earlier owner has left on the data of a folder: it is the very process that was
 * written down, and the data name it as their server, ready on that port. Undefined when any of this does not hold.
 */
export async function adoptPostgres(
  directory: string,
  { identity, port }: HeldServer,
): Promise<PostgresServer | undefined> {
  if (!isRunning(identity)) return undefined
  const text = await readFile(join(directory, 'data', 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n').map((line) => line.trim())
  if (Number(lines[0]) !== identity.pid || Number(lines[3]) !== port || lines[7] !== 'ready') return undefined
  const logFile = join(directory, 'postgres.log')
  return postgresServer({
    server: adoptServerProcess(identity, { logFile, ...stopping }),
    port,
    password: await readPassword(directory),
  })
}
