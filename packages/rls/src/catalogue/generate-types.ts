import { option, readOptions } from '@quintet/core/kit'
import type { Queryable } from '../sql/queryable.ts'
import { readCatalogue, type CatalogueRelation } from './catalogue.ts'
import { columnType, quoteLiteral } from './column-type.ts'

export interface GenerateTypesOptions {
  /** The schemas to read. Tables of the first one go by their bare name. @defaultValue `['public']` */
  readonly schemas?: readonly string[]
}

const spec = { schemas: option.list(option.text()).or(['public']) }

/**
 * TypeScript interfaces of the tables and views, for Kysely: columns as pg reads them and takes them.
 *
 * @throws TypeError when two tables would go by one name.
 */
export async function generateTypes(
  database: Queryable,
  options: GenerateTypesOptions = {},
): Promise<string> {
  const { schemas } = readOptions<GenerateTypesOptions, typeof spec>(options, spec, 'generateTypes')
  const { relations } = await readCatalogue(database)
  const chosen = relations.filter(({ name }) => schemas.includes(schemaOf(name)))
  refuseSameKeys(chosen, schemas)
  const names = typeNames(chosen, schemas)
  const interfaces = chosen.map((relation) => interfaceOf(relation, names.get(relation.name) ?? ''))
  const members = chosen.map(({ name }) => `  ${quoteKey(keyOf(name, schemas))}: ${names.get(name) ?? ''}`)
  const text = interfaces.join('\n')
  const used = ['ColumnType', 'Generated', 'GeneratedAlways'].filter((name) => text.includes(`${name}<`))
  return [
    '// Generated from the database. Generate it again after a migration instead of changing it.',
    ...(used.length > 0 ? [`import type { ${used.join(', ')} } from 'kysely'`] : []),
    ...Object.entries(parsed).flatMap(([name, shape]) =>
      new RegExp(`\\b${name}\\b(?!')`).test(text.replaceAll(/'(?:[^'\\]|\\.)*'/g, '')) ? [shape] : [],
    ),
    ...interfaces,
    `export interface Database {\n${members.join('\n')}\n}`,
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n')
}

/** What pg makes of values that are no texts. */
const parsed = {
  Interval: `export interface Interval {
  years?: number
  months?: number
  days?: number
  hours?: number
  minutes?: number
  seconds?: number
  milliseconds?: number
  toPostgres(): string
}`,
  Point: 'export interface Point {\n  x: number\n  y: number\n}',
  Circle: 'export interface Circle {\n  x: number\n  y: number\n  radius: number\n}',
} as const

function interfaceOf({ columns }: CatalogueRelation, name: string): string {
  const members = columns.map((column) => `  ${quoteKey(column.name)}: ${columnType(column)}`)
  return `export interface ${name} {\n${members.join('\n')}\n}`
}

function schemaOf(name: string): string {
  return name.split('.')[0] ?? ''
}

function keyOf(name: string, schemas: readonly string[]): string {
  return schemaOf(name) === schemas[0] ? name.slice(schemaOf(name).length + 1) : name
}

function refuseSameKeys(relations: readonly CatalogueRelation[], schemas: readonly string[]): void {
  const keys = relations.map(({ name }) => keyOf(name, schemas))
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice === undefined) return
  throw new TypeError(
    `generateTypes: two tables go by the name ${JSON.stringify(twice)} in Kysely. Choose other schemas, or rename one.`,
  )
}

/** A name for each interface; where two tables come to the same one, the later gets a number. */
function typeNames(
  relations: readonly CatalogueRelation[],
  schemas: readonly string[],
): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  const taken = new Set<string>()
  for (const { name } of relations) {
    const wanted = typeName(keyOf(name, schemas))
    let free = wanted
    for (let number = 2; taken.has(free); number++) free = `${wanted}${number}`
    taken.add(free)
    names.set(name, free)
  }
  return names
}

function typeName(key: string): string {
  const words = key.split(/[^\p{L}\p{N}]+/u)
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return /^\p{L}/u.test(joined) ? `${joined}Table` : `Table${joined}`
}

function quoteKey(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : quoteLiteral(name)
}
