import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { databaseRoles } from '../roles/database-roles.ts'
import { provisionDatabase, type ProvisionedDatabase } from '../roles/provision-database.ts'
import { quoteName } from '../sql/sql-text.ts'

/** A database for one purpose, with roles of its own. */
export interface ScratchDatabase extends ProvisionedDatabase {
  /** The administrator's way into it. */
  readonly adminUrl: string
}

/** Runs with a fresh database, and drops it with its roles. */
export async function withScratchDatabase<Result>(
  adminUrl: string,
  run: (database: ScratchDatabase) => Promise<Result>,
): Promise<Result> {
  const name = `quintet_verify_${process.pid}_${randomBytes(6).toString('hex')}`
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  try {
    return await run({ ...(await provisionDatabase({ adminUrl, name })), adminUrl: url.href })
  } finally {
    await executeStatement(adminUrl, `drop database if exists ${quoteName(name)} with (force)`)
    const { owner, tenant, login, system } = databaseRoles(name)
    await executeStatement(adminUrl, `drop role if exists ${[owner, tenant, login, system].join(', ')}`)
  }
}

/** Runs one statement over a connection of its own. */
export async function executeStatement(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
