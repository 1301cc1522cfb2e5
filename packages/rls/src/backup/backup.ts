import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { option, readOptions } from '@quintet/core/kit'
import { Client } from 'pg'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import { backupInvalid, type BackupLine, type TableSum } from './backup-format.ts'
import {
  longestRow,
  readBackupTables,
  readMigrations,
  rowText,
  setTextFormat,
  sumTable,
  writableColumns,
} from './backup-tables.ts'
import { refuseUnrestorable } from './hold-constraints.ts'

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

const spec = { url: option.text(), file: option.text() }

/**
 * Writes every row of a database as of one moment to a gzipped file. The tables themselves come from the
 * migrations, whose names and checksums the backup carries.
 *
 * @throws RlsError `ERR_RLS_BACKUP_INVALID` when a policy would hide rows from the login, or the rows could not be
 *   restored. What was in the file before stays there then.
 */
export async function backupDatabase(options: BackupOptions): Promise<BackupReport> {
  const { url, file } = readOptions<BackupOptions, typeof spec>(options, spec, 'backupDatabase')
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  const partial = `${file}.${randomUUID()}.partial`
  const sums: TableSum[] = []
  try {
    await client.query('begin isolation level repeatable read read only')
    await setTextFormat(client)
    const target = createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true })
    await pipeline(Readable.from(readLines(client, sums)), createGzip(), target)
    await client.query('commit')
    await rename(partial, file)
    return { file, tables: sums.map(({ table, rows }) => ({ table, rows })) }
  } finally {
    await client.end()
    await rm(partial, { force: true })
  }
}

/** The lines of the backup; the sums of the tables are put aside on the way. */
async function* readLines(client: Client, sums: TableSum[]): AsyncGenerator<string> {
  const { tables } = await readBackupTables(client)
  await refuseUnrestorable(client, backupInvalid)
  await refuseHiddenRows(
    client,
    tables.map(({ name }) => name),
  )
  yield line({
    kind: 'quintet-backup',
    version: 1,
    database: client.database ?? '',
    takenAt: new Date().toISOString(),
    migrations: (await readMigrations(client)).map(({ name, checksum }) => ({ name, checksum })),
  })
  for (const table of tables) {
    yield line({ kind: 'table', table: table.name, columns: writableColumns(table) })
    for await (const rows of readRows(client, table.name)) yield line({ kind: 'rows', rows })
    const sum = await sumTable(client, table.name)
    yield line(sum)
    sums.push(sum)
  }
  for (const sequence of await readSequences(client)) yield line(sequence)
  yield line({ kind: 'end' })
}

async function* readRows(client: Client, table: string): AsyncGenerator<readonly string[]> {
  await client.query(
    `declare backup_rows no scroll cursor for select ${rowText} as row from only ${quoteTable(table)} saved`,
  )
  const fitting = Math.floor(bytesPerRead / Math.max(1, await longestRow(client, table)))
  const count = Math.min(rowsPerRead, Math.max(1, fitting))
  for (;;) {
    const { rows } = await client.query<{ row: string }>(`fetch ${count} from backup_rows`)
    if (rows.length === 0) break
    yield rows.map(({ row }) => row)
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

function line(value: BackupLine): string {
  return `${JSON.stringify(value)}\n`
}
