import { refuseUnknownKeys } from '@quintet/core/kit'
import type { Queryable } from '../sql/queryable.ts'
import { readCatalogue, type CatalogueColumn, type CatalogueRelation } from './catalogue.ts'

export interface GenerateTypesOptions {
  /** The schemas to read. Tables of the first one go by their bare name. @defaultValue `['public']` */
  readonly schemas?: readonly string[]
}

/** TypeScript interfaces of the tables and views, for Kysely. */
export async function generateTypes(
  database: Queryable,
  options: GenerateTypesOptions = {},
): Promise<string> {
  refuseUnknownKeys(options, ['schemas'], 'generateTypes')
  const schemas = options.schemas ?? ['public']
  const { relations } = await readCatalogue(database)
  const chosen = relations.filter(({ name }) => schemas.includes(schemaOf(name)))
  const interfaces = chosen.map((relation) => interfaceOf(relation, schemas))
  const members = chosen.map(({ name }) => `  ${quoteKey(keyOf(name, schemas))}: ${typeName(name, schemas)}`)
  const used = ['ColumnType', 'Generated', 'GeneratedAlways'].filter((name) =>
    interfaces.some((text) => text.includes(`${name}<`)),
  )
  return [
    '// Generated from the database. Generate it again after a migration instead of changing it.',
    ...(used.length > 0 ? [`import type { ${used.join(', ')} } from 'kysely'`] : []),
    ...interfaces,
    `export interface Database {\n${members.join('\n')}\n}`,
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n')
}

function interfaceOf({ name, columns }: CatalogueRelation, schemas: readonly string[]): string {
  const members = columns.map((column) => `  ${quoteKey(column.name)}: ${columnType(column)}`)
  return `export interface ${typeName(name, schemas)} {\n${members.join('\n')}\n}`
}

function columnType(column: CatalogueColumn): string {
  const plain = plainType(column)
  const value = column.notNull ? plain : `${plain} | null`
  if (column.generated === 'always' || column.generated === 'stored') return `GeneratedAlways<${value}>`
  return column.optional ? `Generated<${value}>` : value
}

function plainType({ type, labels }: CatalogueColumn): string {
  if (labels)
    return labels.map((label) => `'${label.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`).join(' | ')
  if (type.endsWith('[]')) return `${scalar(type.slice(0, -2))}[]`
  return scalar(type)
}

/** As pg reads the types: numbers that may not fit a double stay texts. */
function scalar(type: string): string {
  const base = type.replace(/\(.*?\)/, '').trim()
  if (['smallint', 'integer', 'real', 'double precision', 'oid'].includes(base)) return 'number'
  if (base === 'boolean') return 'boolean'
  if (base === 'json' || base === 'jsonb') return 'unknown'
  if (base === 'bytea') return 'Buffer'
  if (base === 'date' || base.startsWith('timestamp')) return 'Date'
  return 'string'
}

function schemaOf(name: string): string {
  return name.split('.')[0] ?? ''
}

function keyOf(name: string, schemas: readonly string[]): string {
  return schemaOf(name) === schemas[0] ? name.slice(schemaOf(name).length + 1) : name
}

function typeName(name: string, schemas: readonly string[]): string {
  const words = keyOf(name, schemas).split(/[^A-Za-z0-9]+/)
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return /^[A-Za-z]/.test(joined) ? `${joined}Table` : `Table${joined}`
}

function quoteKey(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `'${name.replaceAll("'", "\\'")}'`
}
