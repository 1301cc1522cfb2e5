import type { CatalogueRelation } from '../catalogue/catalogue.ts'
import { quoteName, quoteTable } from '../sql/sql-text.ts'
import type { AttackOperation } from './attack-case.ts'
import type { SampleRow } from './sample-rows.ts'

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

/** The statement with which an actor goes for a row; undefined where the table has no key to name one by. */
export function attackStatement(
  operation: AttackOperation,
  table: CatalogueRelation,
  row: SampleRow,
  fresh: SampleRow,
): Statement | undefined {
  const key = keyOf(table)
  if (operation === 'insert') return insert(table, fresh)
  if (key === undefined) return undefined
  const name = quoteTable(table.name)
  const values = key.map((column) => row[column])
  const where = key.map((column, index) => `${quoteName(column)} = $${index + 1}`).join(' and ')
  const first = quoteName(key[0] ?? '')
  switch (operation) {
    case 'select':
      return { text: `select * from ${name} where ${where}`, values }
    case 'update': {
      const writable = table.columns.find(
        ({ generated }) => generated === 'never' || generated === 'identity',
      )
      const column = quoteName(writable?.name ?? key[0] ?? '')
      return { text: `update ${name} set ${column} = ${column} where ${where}`, values }
    }
    case 'delete':
      return { text: `delete from ${name} where ${where}`, values }
    case 'upsert': {
      const taken = { ...fresh, ...Object.fromEntries(key.map((column) => [column, row[column]])) }
      const { text, values: all } = insert(table, taken)
      const target = key.map(quoteName).join(', ')
      return {
        text: `${text} on conflict (${target}) do update set ${first} = excluded.${first}`,
        values: all,
      }
    }
  }
}

function insert(table: CatalogueRelation, row: SampleRow): Statement {
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
