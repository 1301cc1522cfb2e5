import { refuseUnknownKeys } from '@quintet/core/kit'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { RlsError } from '../errors.ts'

export interface VersionedUpdate {
  readonly table: string
  /** Finds the one row, e.g. `{ id }`. */
  readonly key: Readonly<Record<string, unknown>>
  /** The version that the change is based on. */
  readonly version: number | bigint | string
  /** Members that are undefined stay as they are. */
  readonly set: Readonly<Record<string, unknown>>
  /** A whole-number column. @defaultValue `'version'` */
  readonly versionColumn?: string
}

/**
 * Updates a row only if it still has the version that the caller has seen, raises the version by one and
 * returns the row.
 *
 * @throws RlsError `ERR_RLS_VERSION_CONFLICT` (kind `conflict`, 409 over HTTP) when the row has moved on, is
 *   gone or belongs to another tenant.
 * @throws PostgreSQL's `21000` when the key finds several rows; none of them is changed then.
 */
export async function updateVersioned<Row extends object = Record<string, unknown>, Database = unknown>(
  db: Kysely<Database>,
  update: VersionedUpdate,
): Promise<Row> {
  refuseUnknownKeys(update, ['table', 'key', 'version', 'set', 'versionColumn'], 'updateVersioned')
  const column = update.versionColumn ?? 'version'
  const keys = Object.entries(update.key)
  if (keys.length === 0) throw new TypeError('updateVersioned.key: name the columns that find the row.')
  const undefinedKey = keys.find(([, value]) => value === undefined)
  if (undefinedKey) throw new TypeError(`updateVersioned.key.${undefinedKey[0]}: is undefined.`)
  const changes = Object.entries(update.set)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => sql`${sql.ref(name)} = ${value}`)
  const matches = keys.map(([name, value]) => sql`${sql.ref(name)} = ${value}`)
  const version = sql.ref(column)
  const { rows } = await sql<Row>`
    update ${sql.table(update.table)} set ${sql.join([...changes, sql`${version} = ${version} + 1`])}
    where ${sql.join(matches, sql` and `)} and ${version} = ${update.version}
      and ${oneRow(update, matches)}
    returning *`.execute(db)
  const [row] = rows
  if (row === undefined) throw versionConflict(update)
  return row
}

/**
 * Fails with `21000` (cardinality violation) where the key finds several rows, before any of them is changed: it is asked
 * once, ahead of the update.
 */
function oneRow({ table }: VersionedUpdate, matches: readonly RawBuilder<unknown>[]): RawBuilder<boolean> {
  return sql<boolean>`(select true from ${sql.table(table)} where ${sql.join(matches, sql` and `)})`
}

function versionConflict({ table, version }: VersionedUpdate): RlsError {
  return new RlsError('The record has changed since it was read. Read it again and repeat the change.', {
    code: 'ERR_RLS_VERSION_CONFLICT',
    kind: 'conflict',
    details: { expectedVersion: String(version) },
    cause: new Error(`No row of ${table} had version ${String(version)}.`),
  })
}
