import { createHash } from 'node:crypto'
import { sql, type Expression, type SqlBool } from 'kysely'
import { RlsError } from '../errors.ts'

/** What a column of a keyset holds: types whose text form is exact. */
export type KeysetType = keyof typeof patterns

export interface KeysetColumn<Name extends string = string> {
  /** `column`, or `table.column` where a query joins several; never null. */
  readonly column: Name
  readonly type: KeysetType
  /** @defaultValue `'asc'` */
  readonly direction?: 'asc' | 'desc'
}

export interface KeysetRequest {
  /** Rows of a page, at most. */
  readonly limit: number
  /** The `next` of the page before. */
  readonly after?: string | undefined
}

export interface KeysetPage<Row> {
  readonly items: readonly Row[]
  /** The cursor of the page that follows; null on the last one. */
  readonly next: string | null
}

/** An order in which rows are read page by page. Made by {@link defineKeyset}. */
export interface Keyset<Column extends string = string> {
  /**
   * Runs a query without an order or limit of its own, and gives one page of its rows.
   *
   * @throws RlsError `ERR_RLS_BAD_CURSOR` (invalid-input) for a cursor that is none, or of another keyset.
   */
  page<Row extends Readonly<Record<Last<Column>, unknown>>>(
    query: PageableQuery<Row>,
    request: KeysetRequest,
  ): Promise<KeysetPage<Row>>
}

/** A `SelectQueryBuilder` of Kysely, as far as it is needed. */
export interface PageableQuery<Row> {
  limit(limit: number): PageableQuery<Row>
  where(condition: Expression<SqlBool>): PageableQuery<Row>
  orderBy(column: Expression<unknown>, direction: 'asc' | 'desc'): PageableQuery<Row>
  execute(): Promise<Row[]>
}

/** The name under which a row has a column. */
type Last<Column extends string> = Column extends `${string}.${infer Name}` ? Name : Column

/** Characters: more than values have that fit into an index. */
const longestCursor = 65_536

const patterns = {
  uuid: /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i,
  integer: /^-?\d{1,10}$/,
  bigint: /^-?\d{1,19}$/,
  text: /^[^\0]*$/su,
} as const

/**
 * Defines a keyset: pages that begin after the last row of the page before, so that each costs the same, and rows that are
 * added or removed meanwhile repeat and hide none. The last column must tell rows apart, and an index begin with all of
 * them. A cursor is bound to its keyset and holds values of the declared types alone; it gives no right to any row.
 *
 * @throws TypeError for columns that make no sense.
 *
 * @example
 * const newestFirst = defineKeyset([{ column: 'id', type: 'uuid', direction: 'desc' }])
 * const { items, next } = await newestFirst.page(db.selectFrom('notes').selectAll(), { limit: 50, after })
 */
export function defineKeyset<const Column extends string>(
  columns: readonly KeysetColumn<Column>[],
): Keyset<Column> {
  if (columns.length === 0) throw new TypeError('defineKeyset: name at least one column.')
  for (const { column, type, direction = 'asc' } of columns) {
    if (!Object.hasOwn(patterns, type) || !['asc', 'desc'].includes(direction))
      throw new TypeError(
        `defineKeyset: ${column} needs a type of ${Object.keys(patterns).join(', ')}, asc or desc.`,
      )
  }
  const names = columns.map(({ column }) => column.split('.').at(-1) ?? column)
  if (new Set(names).size < names.length) {
    throw new TypeError(
      'defineKeyset: two columns of one name cannot be told apart in a row. Select one by an alias.',
    )
  }
  const mark = createHash('sha256').update(JSON.stringify(columns)).digest('base64url').slice(0, 6)

  const write = (row: Readonly<Record<string, unknown>>): string => {
    const values = names.map((name) => {
      const value = row[name]
      if (value === null || value === undefined) throw new TypeError(`keyset: a row has no ${name}.`)
      return String(value)
    })
    const cursor = Buffer.from(JSON.stringify([mark, ...values])).toString('base64url')
    if (cursor.length > longestCursor)
      throw new TypeError(`keyset: ${names.join(', ')} are too long for a cursor.`)
    return cursor
  }
  const read = (cursor: string): readonly string[] => {
    const [from, ...values] = parse(cursor)
    const fits = columns.every(({ type }, index) => patterns[type].test(values[index] ?? '\0'))
    if (from === mark && values.length === columns.length && fits) return values
    throw badCursor()
  }

  return Object.freeze({
    async page<Row extends Readonly<Record<Last<Column>, unknown>>>(
      query: PageableQuery<Row>,
      { limit, after }: KeysetRequest,
    ): Promise<KeysetPage<Row>> {
      if (!Number.isSafeInteger(limit) || limit < 1)
        throw new TypeError(`keyset: limit ${String(limit)} is not a positive whole number.`)
      let paged = query.limit(limit + 1)
      if (after !== undefined) paged = paged.where(beyond(columns, read(after)))
      for (const { column, direction = 'asc' } of columns) paged = paged.orderBy(sql.ref(column), direction)
      const rows = await paged.execute()
      const items = rows.slice(0, limit)
      const last = items.at(-1)
      return { items, next: rows.length > limit && last !== undefined ? write(last) : null }
    },
  })
}

/** What comes after the values in the order of the columns: one comparison of rows where all go one way. */
function beyond(columns: readonly KeysetColumn[], values: readonly string[]): Expression<SqlBool> {
  const typed = columns.map(({ type }, index) => sql`${values[index]}::${sql.raw(type)}`)
  const refs = columns.map(({ column }) => sql.ref(column))
  const directions = new Set(columns.map(({ direction = 'asc' }) => direction))
  if (directions.size === 1) {
    const than = sql.raw(directions.has('asc') ? '>' : '<')
    return sql<SqlBool>`(${sql.join(refs)}) ${than} (${sql.join(typed)})`
  }
  const cases = columns.map(({ direction = 'asc' }, index) => {
    const equal = refs.slice(0, index).map((ref, at) => sql`${ref} = ${typed[at]}`)
    const than = sql.raw(direction === 'asc' ? '>' : '<')
    return sql`(${sql.join([...equal, sql`${refs[index]} ${than} ${typed[index]}`], sql` and `)})`
  })
  return sql<SqlBool>`(${sql.join(cases, sql` or `)})`
}

/** @throws RlsError `ERR_RLS_BAD_CURSOR` */
function parse(cursor: string): readonly string[] {
  try {
    if (cursor.length > longestCursor) throw new Error('too long')
    const values: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(values) && values.every((value) => typeof value === 'string')) return values
  } catch {
    throw badCursor()
  }
  throw badCursor()
}

function badCursor(): RlsError {
  return new RlsError('The cursor is not one of this list. Give the `next` of its last page, or none.', {
    code: 'ERR_RLS_BAD_CURSOR',
    kind: 'invalid-input',
  })
}
