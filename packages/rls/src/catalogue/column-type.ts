import type { CatalogueColumn } from './catalogue.ts'

/** The TypeScript type of a column for Kysely. */
export function columnType(column: CatalogueColumn): string {
  const { read, write } = valueTypes(column)
  const orNull = column.notNull ? '' : ' | null'
  if (column.generated === 'always' || column.generated === 'stored')
    return `GeneratedAlways<${read}${orNull}>`
  if (read === write) return column.optional ? `Generated<${read}${orNull}>` : `${read}${orNull}`
  const orLeftOut = column.optional ? ' | undefined' : ''
  return `ColumnType<${read}${orNull}, ${write}${orNull}${orLeftOut}, ${write}${orNull}>`
}

interface ValueTypes {
  /** What pg makes of it. */
  readonly read: string
  /** What pg takes for it. */
  readonly write: string
}

function valueTypes({ wireType, labels }: CatalogueColumn): ValueTypes {
  if (labels) return same(labels.map(quoteLiteral).join(' | ') || 'never')
  if (wireType === null) return same('string')
  if (!wireType.startsWith('_')) return scalars[wireType] ?? same('string')
  const element = wireType.slice(1)
  const types = arrayElements[element] ?? (textArrays.has(element) ? same('string') : undefined)
  // pg leaves arrays of other types as the text that PostgreSQL sends.
  if (types === undefined) return same('string')
  return { read: arrayOf(types.read), write: arrayOf(types.write) }
}

function same(type: string): ValueTypes {
  return { read: type, write: type }
}

function arrayOf(type: string): string {
  return type.includes(' ') ? `(${type})[]` : `${type}[]`
}

const number = same('number')
const date = same('Date')
const json = same('unknown')
const interval = { read: 'Interval', write: 'Interval | string' }
const point = { read: 'Point', write: 'string' }

/** As pg-types parses them, by their names in pg_type: what may not fit a double stays a text. */
const scalars: Readonly<Record<string, ValueTypes>> = {
  int2: number,
  int4: number,
  oid: number,
  float4: number,
  float8: number,
  bool: same('boolean'),
  date,
  timestamp: date,
  timestamptz: date,
  bytea: same('Buffer'),
  json,
  jsonb: json,
  interval,
  point,
  circle: { read: 'Circle', write: 'string' },
}

const { circle: _circle, ...parsedInArrays } = scalars
const arrayElements: Readonly<Record<string, ValueTypes>> = { ...parsedInArrays, numeric: number }

const textArrays = new Set(
  'int8 text varchar bpchar cidr inet macaddr numrange uuid money time timetz'.split(' '),
)

/** A text as a TypeScript literal. */
export function quoteLiteral(text: string): string {
  return `'${JSON.stringify(text)
    .slice(1, -1)
    .replaceAll(String.raw`\"`, '"')
    .replaceAll("'", String.raw`\'`)}'`
}
