import { randomInt, randomUUID } from 'node:crypto'
import type { CatalogueColumn, CatalogueRelation } from '../catalogue/catalogue.ts'

export type SampleRow = Readonly<Record<string, unknown>>

/** Who a sample row belongs to. */
export interface SampleOwner {
  readonly tenantId: string
  readonly userId: string
}

/** An id that is not in use, of the type that columns for it have. */
export function sampleId(types: ReadonlySet<string>): string {
  const [most] = ['smallint', 'integer', 'bigint'].filter((type) => types.has(type))
  if (most === undefined) return randomUUID()
  const limit = { smallint: 30_000, integer: 2_000_000_000, bigint: 2 ** 47 }[most] ?? 0
  return String(randomInt(limit / 2, limit))
}

/**
 * A row that fits the columns of a table: what is given, values of rows it refers to, and something fresh of the right type
 * where the table gives no default.
 */
export function sampleRow(
  table: CatalogueRelation,
  related: (table: string) => SampleRow | undefined,
  given: SampleRow,
): SampleRow {
  const row: Record<string, unknown> = {}
  for (const key of table.foreignKeys) {
    const target = related(key.references)
    for (const [index, column] of key.columns.entries()) {
      const value = target?.[key.referencedColumns[index] ?? '']
      if (value !== undefined) row[column] = value
    }
  }
  Object.assign(row, given)
  for (const column of table.columns) {
    if (row[column.name] === undefined && column.notNull && !column.optional) {
      row[column.name] = sampleValue(column, table.name)
    }
  }
  return row
}

let serial = 0

/** A value of the column's type, different each time where the type allows it. */
function sampleValue(column: CatalogueColumn, table: string): unknown {
  const { type, labels } = column
  serial++
  if (labels) return labels[0]
  if (type.endsWith('[]')) return '{}'
  const base = type.replace(/\(.*\)/, '').trim()
  const known = values[base]
  if (known !== undefined) return known()
  throw new Error(
    `${table}.${column.name}: there is no sample of type ${type}. Give the value in tables['${table}'].row.`,
  )
}

const text = (): string => `sample ${serial} ${randomUUID().slice(0, 8)}`
const now = (): string => new Date().toISOString()
const count = (): number => serial

const values: Readonly<Record<string, () => unknown>> = {
  uuid: randomUUID,
  text,
  'character varying': text,
  character: () => 'x',
  citext: text,
  smallint: count,
  integer: count,
  bigint: count,
  numeric: count,
  real: count,
  'double precision': count,
  boolean: () => true,
  date: now,
  'timestamp with time zone': now,
  'timestamp without time zone': now,
  'time without time zone': () => '12:00',
  interval: () => '1 second',
  json: () => '{}',
  jsonb: () => '{}',
  bytea: () => Buffer.from(String(serial)),
  inet: () => '127.0.0.1',
  cidr: () => '127.0.0.0/8',
}
