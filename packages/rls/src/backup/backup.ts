import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { finished } from 'node:stream/promises'
import { createGzip, type Gzip } from 'node:zlib'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { Client } from 'pg'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import { backupInvalid, type BackupLine, type TableSum } from './backup-format.ts'
import { longestRow, readBackupTables, readMigrations, sumTable, writableColumns } from './backup-tables.ts'

export interface BackupOptions {
  /** A login that sees every row: the owner, or an administrator. */
  readonly url: string
  /** Where the backup goes. An existing file is replaced when the backup is complete. */
  readonly file: string
}

export interface BackupReport {
  readonly file: string
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
}

/** The most rows, and about the most bytes of them, that are read at once and stand in one line. */
const rowsPerRead = 500
const bytesPerRead = 4_194_304

/**
 * Writes every row of a database as of one moment to a gzipped file. The tables themselves come from the
 * migrations, whose names and checksums the backup carries.
 *
 * @throws RlsError `ERR_RLS_BACKUP_INVALID` when a policy would hide rows from the login.
 */
export async function backupDatabase(options: BackupOptions): Promise<BackupReport> {
  refuseUnknownKeys(options, ['url', 'file'], 'backupDatabase')
  const client = new Client({ connectionString: options.url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  const partial = `${options.file}.partial`
  try {
    await client.query('begin isolation level repeatable read read only')
    await client.query(
      "set local datestyle = 'ISO'; set local timezone = 'UTC'; set local extra_float_digits = 3",
    )
    const report = await write(client, partial, options.file)
    await client.query('commit')
    await rename(partial, options.file)
    return report
  } finally {
    await client.end()
    await rm(partial, { force: true })
  }
}

async function write(client: Client, partial: string, file: string): Promise<BackupReport> {
  const { tables } = await readBackupTables(client)
  await refuseHiddenRows(
    client,
    tables.map(({ name }) => name),
  )
  const gzip = createGzip()
  const target = createWriteStream(partial, { mode: 0o600 })
  const written = finished(gzip.pipe(target))
  // Seen below; without a listener a failure while rows are read would end the process.
  written.catch(() => undefined)
  target.on('error', (error) => gzip.destroy(error))

  await line(gzip, {
    kind: 'quintet-backup',
    version: 1,
    database: client.database ?? '',
    takenAt: new Date().toISOString(),
    migrations: (await readMigrations(client)).map(({ name, checksum }) => ({ name, checksum })),
  })
  const sums: TableSum[] = []
  for (const table of tables) {
    await line(gzip, { kind: 'table', table: table.name, columns: writableColumns(table) })
    await writeRows(client, gzip, table.name)
    const sum = await sumTable(client, table.name)
    await line(gzip, sum)
    sums.push(sum)
  }
  for (const sequence of await readSequences(client)) await line(gzip, sequence)
  await line(gzip, { kind: 'end' })
  gzip.end()
  await written
  return { file, tables: sums.map(({ table, rows }) => ({ table, rows })) }
}

async function writeRows(client: Client, gzip: Gzip, table: string): Promise<void> {
  await client.query(
    `declare backup_rows no scroll cursor for select t::text as row from only ${quoteTable(table)} t`,
  )
  const fitting = Math.floor(bytesPerRead / Math.max(1, await longestRow(client, table)))
  const count = Math.min(rowsPerRead, Math.max(1, fitting))
  for (;;) {
    const { rows } = await client.query<{ row: string }>(`fetch ${count} from backup_rows`)
    if (rows.length === 0) break
    await line(gzip, { kind: 'rows', rows: rows.map(({ row }) => row) })
  }
  await client.query('close backup_rows')
}

async function readSequences(client: Client): Promise<readonly Extract<BackupLine, { kind: 'sequence' }>[]> {
  const { rows } = await client.query<{ name: string }>(
    `select quote_ident(schemaname) || '.' || quote_ident(sequencename) as name from pg_sequences
     where schemaname not in ('pg_catalog', 'information_schema', 'quintet') order by 1`,
  )
  const sequences = []
  for (const { name } of rows) {
    const state = await client.query<{ lastValue: string; isCalled: boolean }>(
      `select last_value::text as "lastValue", is_called as "isCalled" from ${name}`,
    )
    const [first] = state.rows
    if (first) sequences.push({ kind: 'sequence', sequence: name, ...first } as const)
  }
  return sequences
}

/** A policy would leave rows out without a word: the login must see all of each table. */
async function refuseHiddenRows(client: Client, tables: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace, pg_roles me
     where me.rolname = current_user and n.nspname || '.' || c.relname = any($1)
       and c.relrowsecurity and not me.rolsuper and not me.rolbypassrls
       and (c.relforcerowsecurity or not pg_has_role(c.relowner, 'USAGE'))
       and not (
         exists (select 1 from pg_policy p where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('*', 'r')
           and pg_get_expr(p.polqual, p.polrelid) = 'true'
           and exists (select 1 from unnest(p.polroles) r where r = 0 or pg_has_role(r, 'USAGE')))
         and not exists (select 1 from pg_policy p where p.polrelid = c.oid and not p.polpermissive and p.polcmd in ('*', 'r')
           and exists (select 1 from unnest(p.polroles) r where r = 0 or pg_has_role(r, 'USAGE'))))`,
    [tables],
  )
  if (rows.length === 0) return
  throw backupInvalid(
    `policies hide rows of ${rows.map(({ name }) => quoteName(name)).join(', ')} from this login. Use the owner login with its policy, or an administrator.`,
  )
}

async function line(gzip: Gzip, value: BackupLine): Promise<void> {
  if (!gzip.write(`${JSON.stringify(value)}\n`)) await once(gzip, 'drain')
}
