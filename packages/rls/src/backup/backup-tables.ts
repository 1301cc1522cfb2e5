import type { Client } from 'pg'
import { readApplied, type AppliedMigration } from '../migrations/status.ts'
import { quoteTable } from '../sql/sql-text.ts'
import { Kysely, PostgresDialect } from 'kysely'
import type { TableSum } from './backup-format.ts'
import { readCatalogue, type CatalogueRelation } from '../catalogue/catalogue.ts'
import { inReferenceOrder } from '../catalogue/reference-order.ts'

/** The tables with rows of their own, referenced ones first. */
export async function readBackupTables(client: Client): Promise<readonly CatalogueRelation[]> {
  const { relations } = await readCatalogue(client)
  const { rows } = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'p'`,
  )
  const partitioned = new Set(rows.map(({ name }) => name))
  return inReferenceOrder(relations.filter(({ kind, name }) => kind === 'table' && !partitioned.has(name)))
}

/** The columns of a table that can be written. */
export function writableColumns(table: CatalogueRelation): readonly string[] {
  return table.columns.filter(({ generated }) => generated !== 'stored').map(({ name }) => name)
}

export async function sumTable(client: Client, table: string): Promise<TableSum> {
  const { rows } = await client.query<{ rows: string; sum: string }>(
    `select count(*) as rows, coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text as sum
     from only ${quoteTable(table)} t`,
  )
  return { kind: 'sum', table, rows: Number(rows[0]?.rows ?? 0), sum: rows[0]?.sum ?? '0' }
}

export async function readMigrations(client: Client): Promise<readonly AppliedMigration[]> {
  const db = new Kysely<unknown>({
    dialect: new PostgresDialect({
      pool: {
        options: {},
        connect: async () => ({
          query: client.query.bind(client) as never,
          release: () => undefined,
        }),
        end: async () => undefined,
      },
    }),
  })
  return readApplied(db)
}
