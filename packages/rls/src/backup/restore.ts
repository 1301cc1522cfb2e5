import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { option, readOptions } from '@quintet/core/kit'
import { Client } from 'pg'
import { mapPostgresError } from '../sql/postgres-errors.ts'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import { backupInvalid, type BackupHeader, type BackupLine } from './backup-format.ts'
import {
  readBackupTables,
  readMigrations,
  setTextFormat,
  sumTable,
  writableColumns,
} from './backup-tables.ts'
import type { BackupReport } from './backup.ts'
import { holdConstraints } from './hold-constraints.ts'

export interface RestoreOptions {
  /** The owner login, or an administrator, of a database with the same migrations. */
  readonly url: string
  readonly file: string
}

const spec = { url: option.text(), file: option.text() }

/**
 * Replaces every row of a database by those of a backup, in one transaction. Each table is summed again
 * and compared with the backup before the transaction commits. Triggers do not fire.
 *
 * @throws RlsError `ERR_RLS_BACKUP_INVALID` when the file is damaged, the migrations differ or a sum does
 *   not match. After this and any other error the database is as it was.
 */
export async function restoreDatabase(options: RestoreOptions): Promise<BackupReport> {
  const { url, file } = readOptions<RestoreOptions, typeof spec>(options, spec, 'restoreDatabase')
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query('begin')
    await setTextFormat(client)
    const report = await read(client, file)
    await client.query('commit')
    return report
  } catch (error) {
    if (isDamage(error)) throw backupInvalid(error.message, error)
    throw mapPostgresError(error) ?? error
  } finally {
    await client.end()
  }
}

/** Whether an error comes from what the file holds: no gzip, no JSON, values that their columns do not take. */
function isDamage(error: unknown): error is Error {
  const { code } = error as { code?: unknown }
  return error instanceof SyntaxError || /^(?:Z_|(?:22|23)[0-9A-Z]{3}$)/.test(String(code))
}

async function read(client: Client, file: string): Promise<BackupReport> {
  const { tables, partitioned } = await readBackupTables(client)
  const awaited = new Map(tables.map((table) => [table.name, writableColumns(table)]))
  const restored: BackupReport['tables'][number][] = []
  let target: { readonly table: string; readonly columns: readonly string[] } | undefined
  let begun = false
  let ended = false
  const all = [...awaited.keys(), ...partitioned]
  const releaseConstraints = await holdConstraints(client, all)

  for await (const line of lines(file)) {
    if (!begun && line.kind !== 'quintet-backup') throw backupInvalid('it does not begin like one.')
    switch (line.kind) {
      case 'quintet-backup':
        await refuseOtherMigrations(client, line)
        begun = true
        if (all.length > 0) await client.query(`truncate ${all.map(quoteTable).join(', ')}`)
        break
      case 'table': {
        const columns = awaited.get(line.table)
        if (columns === undefined || columns.join() !== line.columns.join()) {
          throw backupInvalid(`the table ${line.table} is not the same here.`)
        }
        awaited.delete(line.table)
        target = line
        break
      }
      case 'rows':
        if (target === undefined) throw backupInvalid('it has rows of no table.')
        await insertRows(client, target.table, target.columns, line.rows)
        break
      case 'sum': {
        const sum = await sumTable(client, line.table)
        if (sum.rows !== line.rows || sum.sum !== line.sum) {
          throw backupInvalid(`the rows of ${line.table} are not those that were saved.`)
        }
        restored.push({ table: line.table, rows: line.rows })
        break
      }
      case 'sequence':
        await setSequence(client, line)
        break
      case 'end':
        ended = true
    }
  }
  if (!ended) throw backupInvalid('it ends too early.')
  if (awaited.size > 0) throw backupInvalid(`it lacks the tables ${[...awaited.keys()].join(', ')}.`)
  const summed = new Set(restored.map(({ table }) => table))
  const unsummed = tables.filter(({ name }) => !summed.has(name))
  if (unsummed.length > 0) {
    throw backupInvalid(`it lacks the sums of the tables ${unsummed.map(({ name }) => name).join(', ')}.`)
  }
  await releaseConstraints()
  await refreshViews(client)
  return { file, tables: restored }
}

/** Lines end at LF alone: U+2028 and others that end one elsewhere stand in rows. */
async function* lines(file: string): AsyncGenerator<BackupLine> {
  const source = createReadStream(file)
  const gunzip = createGunzip()
  source.on('error', (error) => gunzip.destroy(error))
  let pending: string[] = []
  for await (const chunk of source.pipe(gunzip).setEncoding('utf8')) {
    const [first = '', ...others] = String(chunk).split('\n')
    pending.push(first)
    for (const next of others) {
      yield JSON.parse(pending.join('')) as BackupLine
      pending = [next]
    }
  }
  const rest = pending.join('')
  if (rest !== '') yield JSON.parse(rest) as BackupLine
}

async function insertRows(
  client: Client,
  table: string,
  columns: readonly string[],
  rows: readonly string[],
): Promise<void> {
  const name = quoteTable(table)
  const list = columns.map(quoteName)
  await client.query(
    `insert into ${name} ${list.length === 0 ? '' : `(${list.join(', ')}) overriding system value`}
     select ${list.map((column) => `(saved.row).${column}`).join(', ')}
     from (select unnest($1::text[])::${name} as row) saved`,
    [rows],
  )
}

/**
 * `setval` holds whatever becomes of its transaction. RESTART gives the sequence a new file that goes with the transaction, in
 * which it is set then.
 */
async function setSequence(
  client: Client,
  { sequence, lastValue, isCalled }: Extract<BackupLine, { kind: 'sequence' }>,
): Promise<void> {
  // As it is quoted here, whatever the file says.
  const { rows } = await client.query<{ name: string }>('select $1::regclass::text as name', [sequence])
  await client.query(`alter sequence ${rows[0]?.name ?? ''} restart`)
  await client.query('select setval($1::regclass, $2::bigint, $3)', [sequence, lastValue, isCalled])
}

async function refuseOtherMigrations(client: Client, header: BackupHeader): Promise<void> {
  if (header.version !== 1) throw backupInvalid(`its format ${String(header.version)} is not known here.`)
  const here = await readMigrations(client)
  const list = (migrations: readonly { name: string; checksum: string | null }[]): string =>
    migrations.map(({ name, checksum }) => `${name} ${checksum ?? ''}`).join('\n')
  if (list(here) === list(header.migrations)) return
  throw backupInvalid(
    'the database has other migrations than the one it was taken from. Migrate it to the same ones first.',
  )
}

/** Materialized views hold rows of their tables, those that were made last stand on the others. */
async function refreshViews(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'm' and c.relispopulated order by c.oid`,
  )
  for (const { name } of rows) await client.query(`refresh materialized view ${quoteTable(name)}`)
}
