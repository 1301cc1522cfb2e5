import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { Client } from 'pg'
import type { CatalogueRelation } from '../catalogue/catalogue.ts'
import { mapPostgresError } from '../sql/postgres-errors.ts'
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
  /**
   * How long to wait for each table that a TRUNCATE or a migration holds. Both wait for the backup in turn.
   * @defaultValue `'30s'`
   */
  readonly lockTimeout?: Duration
}

export const backupDefaults: Readonly<{ lockTimeout: Duration }> = Object.freeze({ lockTimeout: '30s' })

export interface BackupReport {
  readonly file: string
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
}

/** The most rows, and about the most bytes of them, that are read at once and stand in one line. */
const rowsPerRead = 500
const bytesPerRead = 4_194_304

const spec = {
  url: option.text(),
  file: option.text(),
  lockTimeout: option.delay(backupDefaults.lockTimeout, { min: 1 }),
}

/**
 * Writes every row of a database as of one moment to a gzipped file. The tables themselves come from the
 * migrations, whose names and checksums the backup carries.
 *
 * @throws RlsError `ERR_RLS_BACKUP_INVALID` when a policy would hide rows from the login, or the rows could not be
 *   restored, `ERR_RLS_TIMEOUT` when a table stays locked. What was in the file before stays there then.
 */
export async function backupDatabase(options: BackupOptions): Promise<BackupReport> {
  const { url, file, lockTimeout } = readOptions<BackupOptions, typeof spec>(options, spec, 'backupDatabase')
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  const partial = `${file}.${randomUUID()}.partial`
  const sums: TableSum[] = []
  try {
    const tables = await beginSnapshot(client, lockTimeout)
    const target = createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true })
    await pipeline(Readable.from(readLines(client, tables, sums)), createGzip(), target)
    await client.query('commit')
    await rename(partial, file)
    return { file, tables: sums.map(({ table, rows }) => ({ table, rows })) }
  } catch (error) {
    throw mapPostgresError(error) ?? error
  } finally {
    await client.end()
    await rm(partial, { force: true })
  }
}

/**
 * Begins a transaction that sees one moment, in which every table is locked. The locks come before the snapshot:
 * a table that is truncated or rewritten after it looks empty to it.
 *
 * @see https://www.postgresql.org/docs/current/mvcc-caveats.html
 */
async function beginSnapshot(client: Client, lockTimeout: number): Promise<readonly CatalogueRelation[]> {
  // Reading the catalogue waits for locks as well.
  await client.query(`set lock_timeout = ${Math.ceil(lockTimeout)}`)
  for (let attempt = 1; attempt <= snapshotAttempts; attempt++) {
    const locked = (await readBackupTables(client)).tables.map(({ name }) => name)
    await client.query('begin isolation level repeatable read read only')
    await setTextFormat(client)
    if (await lockTables(client, locked)) {
      const { tables } = await readBackupTables(client)
      if (tables.every(({ name }) => locked.includes(name))) return tables
    }
    await client.query('rollback')
  }
  throw backupInvalid(
    'its tables were made, renamed or dropped all the time. Take it when no migration runs.',
  )
}

/** Migrations that make, rename or drop tables in the moment between list and locks. */
const snapshotAttempts = 20

/** False when one of them is gone. */
async function lockTables(client: Client, tables: readonly string[]): Promise<boolean> {
  if (tables.length === 0) return true
  try {
    await client.query(
      `lock table ${tables.map((name) => `only ${quoteTable(name)}`).join(', ')} in access share mode`,
    )
    return true
  } catch (error) {
    // undefined_table, and invalid_schema_name.
    if (['42P01', '3F000'].includes(String((error as { code?: unknown }).code))) return false
    throw error
  }
}

/** The lines of the backup; the sums of the tables are put aside on the way. */
async function* readLines(
  client: Client,
  tables: readonly CatalogueRelation[],
  sums: TableSum[],
): AsyncGenerator<string> {
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
