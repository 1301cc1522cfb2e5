import type { CatalogueRelation } from '../catalogue/catalogue.ts'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import type { AttackOperation } from './attack-case.ts'
import type { SampleRow } from './sample-rows.ts'

export interface AttackStatement {
  readonly text: string
  readonly values: readonly unknown[]
}

/** What an attempt is made with. */
export interface AttackTarget {
  readonly table: CatalogueRelation
  /** The row that is gone for, as it is stored. */
  readonly row: SampleRow
  /** A further row of the same owner. */
  readonly fresh: SampleRow
  /** The columns that say whose row it is, with the ids of another tenant and user. */
  readonly thief: { readonly tenant: SampleRow; readonly user: SampleRow }
  /**
   * Whether an UPDATE or DELETE names its row. One that names none asks for no right to read, so that policies for SELECT do not
   * hide what those of its own let through.
   */
  readonly named: boolean
}

/** The statement with which an actor goes for a row; undefined where the table knows no such thing. */
export function attackStatement(
  operation: AttackOperation,
  target: AttackTarget,
): AttackStatement | undefined {
  const { table, row, fresh, thief, named } = target
  const name = quoteTable(table.name)
  const where = namesRow(table, row)
  switch (operation) {
    case 'insert':
      return insert(table, fresh)
    case 'select':
      return { text: `select * from ${name} where ${where.text}`, values: where.values }
    case 'update':
      return change(
        table,
        harmless(table, row, { ...thief.tenant, ...thief.user }),
        named ? where : undefined,
      )
    case 'move-tenant':
      return change(table, thief.tenant, named ? where : undefined)
    case 'move-user':
      return change(table, thief.user, named ? where : undefined)
    case 'delete':
      return named
        ? { text: `delete from ${name} where ${where.text}`, values: where.values }
        : { text: `delete from ${name}`, values: [] }
    case 'truncate':
      return { text: `truncate ${name}`, values: [] }
    case 'upsert':
      return upsert(table, row, fresh)
  }
}

/** Where a row was stored, for tables without a key to name it by. */
const place = ['quintet_ctid', 'quintet_tableoid'] as const

/** What an INSERT returns so that its row can be gone for. */
export const returning = `*, ctid::text as ${place[0]}, tableoid::text as ${place[1]}`

/** A condition with its values, numbered from 1. */
function namesRow(table: CatalogueRelation, row: SampleRow): AttackStatement {
  const key = keyOf(table)
  if (key === undefined) {
    return { text: 'ctid = $1::tid and tableoid = $2::oid', values: place.map((column) => row[column]) }
  }
  return {
    text: key.map((column, index) => `${quoteName(column)} = $${index + 1}`).join(' and '),
    values: key.map((column) => row[column]),
  }
}

function change(
  table: CatalogueRelation,
  set: SampleRow,
  where: AttackStatement | undefined,
): AttackStatement | undefined {
  if (Object.keys(set).length === 0) return undefined
  const given = where?.values.length ?? 0
  const columns = Object.keys(set).map((column, index) => `${quoteName(column)} = $${given + index + 1}`)
  const text = `update ${quoteTable(table.name)} set ${columns.join(', ')}`
  return {
    text: where === undefined ? text : `${text} where ${where.text}`,
    values: [...(where?.values ?? []), ...Object.values(set)],
  }
}

/** A column with the value that it has, by preference none that says whose row it is. */
function harmless(table: CatalogueRelation, row: SampleRow, owned: SampleRow): SampleRow {
  const key = keyOf(table) ?? []
  const writable = table.columns.filter(
    ({ name, generated }) =>
      (generated === 'never' || generated === 'identity') &&
      !(row[name] !== null && typeof row[name] === 'object'),
  )
  const chosen = writable.find(({ name }) => !(name in owned) && !key.includes(name)) ?? writable[0]
  const name = chosen?.name ?? key[0] ?? ''
  return { [name]: row[name] }
}

function upsert(table: CatalogueRelation, row: SampleRow, fresh: SampleRow): AttackStatement | undefined {
  const key = keyOf(table)
  if (key === undefined) return undefined
  const taken = { ...fresh, ...Object.fromEntries(key.map((column) => [column, row[column]])) }
  const { text, values } = insert(table, taken)
  const target = key.map(quoteName).join(', ')
  const settable = key.find((column) =>
    table.columns.some(
      ({ name, generated }) => name === column && (generated === 'never' || generated === 'identity'),
    ),
  )
  const changed = quoteName(settable ?? Object.keys(harmless(table, row, {}))[0] ?? '')
  return { text: `${text} on conflict (${target}) do update set ${changed} = excluded.${changed}`, values }
}

export function insert(table: CatalogueRelation, row: SampleRow): AttackStatement {
  const names = Object.keys(row)
  const name = quoteTable(table.name)
  if (names.length === 0) return { text: `insert into ${name} default values`, values: [] }
  const always = table.columns.some(({ name: column, generated }) => generated === 'always' && column in row)
  const places = names.map((_, index) => `$${index + 1}`).join(', ')
  return {
    text: `insert into ${name} (${names.map(quoteName).join(', ')})${always ? ' overriding system value' : ''} values (${places})`,
    values: Object.values(row),
  }
}

/** The columns of the primary key, or of another unique index that names a row. */
function keyOf(table: CatalogueRelation): readonly string[] | undefined {
  const keys = table.indexes.filter(
    ({ unique, predicate, columns }) =>
      unique && predicate === null && columns.every((column) => column !== null),
  )
  const best = keys.find(({ primary }) => primary) ?? keys[0]
  return best?.columns as readonly string[] | undefined
}
