import type { Client } from 'pg'
import { readApplied, type AppliedMigration } from '../migrations/status.ts'
import { kyselyOfClient } from '../sql/kysely-of-client.ts'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import { backupInvalid, type TableSum } from './backup-format.ts'
import { readCatalogue, type CatalogueRelation } from '../catalogue/catalogue.ts'
import { inReferenceOrder } from '../catalogue/reference-order.ts'

export interface BackupTables {
  /** The tables with rows of their own, referenced ones first. */
  readonly tables: readonly CatalogueRelation[]
  /** Partitioned tables, which hold constraints and triggers for their partitions. */
  readonly partitioned: readonly string[]
}

/** @throws RlsError `ERR_RLS_BACKUP_INVALID` for what a backup cannot hold: large objects, and schemas with a dot. */
export async function readBackupTables(client: Client): Promise<BackupTables> {
  const { relations } = await readCatalogue(client)
  const { rows } = await client.query<{ schema: string; name: string; partitioned: boolean; large: number }>(
    `select n.nspname as schema, n.nspname || '.' || c.relname as name, c.relkind = 'p' as partitioned,
       (select count(*)::int from pg_largeobject_metadata) as large
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')`,
  )
  if (rows[0] !== undefined && rows[0].large > 0) {
    throw backupInvalid(`the database has ${rows[0].large} large objects, which it cannot hold. Use bytea.`)
  }
  const all = relations.filter(({ kind }) => kind === 'table')
  const names = new Set(all.map(({ name }) => name))
  const dotted = rows.find(({ schema, name }) => schema.includes('.') && names.has(name))
  if (dotted) throw backupInvalid(`the name of the schema ${quoteName(dotted.schema)} has a dot.`)
  const partitioned = new Set(rows.filter((row) => row.partitioned).map(({ name }) => name))
  return {
    tables: inReferenceOrder(all.filter(({ name }) => !partitioned.has(name))),
    partitioned: [...partitioned].filter((name) => names.has(name)),
  }
}

/** The columns of a table that can be written. */
export function writableColumns(table: CatalogueRelation): readonly string[] {
  return table.columns.filter(({ generated }) => generated !== 'stored').map(({ name }) => name)
}

/** A whole row of the table `saved` as text; `saved` alone would be the column of that name where there is one. */
export const rowText = '(saved.*)::text'

/** Makes the text of every value independent of the settings of the login, and takes its time limits away. */
export async function setTextFormat(client: Client): Promise<void> {
  await client.query(`set local datestyle = 'ISO, YMD';
    set local intervalstyle = 'postgres';
    set local timezone = 'UTC';
    set local extra_float_digits = 3;
    set local bytea_output = 'hex';
    set local lc_monetary = 'C';
    set local quote_all_identifiers = off;
    set local xmloption = 'content';
    set local search_path = pg_catalog, public;
    set local statement_timeout = 0;
    set local idle_in_transaction_session_timeout = 0`)
}

export async function sumTable(client: Client, table: string): Promise<TableSum> {
  const { rows } = await client.query<{ rows: string; sum: string }>(
    `select count(*) as rows, coalesce(sum(hashtextextended(${rowText}, 0)::numeric), 0)::text as sum
     from only ${quoteTable(table)} saved`,
  )
  return { kind: 'sum', table, rows: Number(rows[0]?.rows ?? 0), sum: rows[0]?.sum ?? '0' }
}

export async function readMigrations(client: Client): Promise<readonly AppliedMigration[]> {
  return readApplied(kyselyOfClient(client))
}

/** The length of the longest row as text, in bytes. */
export async function longestRow(client: Client, table: string): Promise<number> {
  const { rows } = await client.query<{ longest: number }>(
    `select coalesce(max(octet_length(${rowText})), 0)::int as longest from only ${quoteTable(table)} saved`,
  )
  return rows[0]?.longest ?? 0
}
