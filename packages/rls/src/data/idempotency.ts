import { createHash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { sql, type Kysely, type Transaction } from 'kysely'
import { RlsError } from '../errors.ts'
import { ownerPolicy, type TablePolicy } from '../policies/table-policy.ts'
import { deleteInBatches, type DeleteInBatchesOptions } from './delete-in-batches.ts'

/** The table of idempotency keys, as SQL for a migration. May be run again. */
export const idempotencyTableSql = `
create table if not exists idempotency_keys (
  tenant_id text not null,
  user_id text not null,
  operation text not null,
  key text not null,
  digest text not null,
  result json,
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id, operation, key)
);
create index if not exists idempotency_keys_by_age on idempotency_keys (created_at);`

/** What tenants may do with idempotency keys: each user has its own. */
export const idempotencyPolicy: TablePolicy = ownerPolicy('idempotency_keys', {
  for: ['select', 'insert', 'update'],
  type: 'text',
  tenantType: 'text',
})

export interface IdempotentCall {
  /** Whose key it is, e.g. the principal of the call. */
  readonly caller: { readonly tenantId: string; readonly userId: string }
  /** What is done; a key of one operation is none of another. */
  readonly operation: string
  /** What the client gives, 1 to 200 characters of well-formed Unicode. */
  readonly key: string
  /** What is asked for, as JSON, BigInts included; undefined for an operation without input. A key stands for one payload. */
  readonly payload: unknown
  /** Throws when the caller may not do it; called each time, before the key is looked up. */
  readonly authorize: () => unknown
}

/**
 * Runs the function once for each key of a user, operation and payload, in the transaction of its effect, and gives every
 * repetition the first one's result, which must be JSON. A repetition that comes at the same time waits for the first.
 *
 * @throws RlsError `ERR_RLS_KEY_REUSED` (conflict) when the key stands for another payload, TypeError for a payload that JSON
 * has no form of (a Map, NaN), and what `authorize` throws.
 *
 * @example
 * const { caller, input } = call
 * const opened = await db.transaction().execute((trx) =>
 *   withIdempotency(trx, { caller, operation: 'open', key: input.key, payload: input, authorize }, () => open(trx, input)),
 * )
 */
export async function withIdempotency<Database, Result>(
  transaction: Transaction<Database>,
  call: IdempotentCall,
  run: () => Promise<Result>,
): Promise<Result> {
  refuseUnknownKeys(call, ['caller', 'operation', 'key', 'payload', 'authorize'], 'withIdempotency')
  if (!transaction.isTransaction) throw new TypeError('withIdempotency: needs a transaction.')
  const { caller, operation, key, payload, authorize } = call
  if (!/^[^\0]{1,200}$/su.test(key) || !key.isWellFormed()) throw invalidKey()
  await authorize()
  const digest = createHash('sha256').update(canonicalJson(payload)).digest('base64url')
  const { rows: made } = await sql`
    insert into idempotency_keys (tenant_id, user_id, operation, key, digest)
    values (${caller.tenantId}, ${caller.userId}, ${operation}, ${key}, ${digest})
    on conflict do nothing returning key`.execute(transaction)
  const own = sql`tenant_id = ${caller.tenantId} and user_id = ${caller.userId}
    and operation = ${operation} and key = ${key}`
  if (made.length === 0) {
    const { rows } = await sql<{ digest: string; result: string | null }>`
      select digest, result::text from idempotency_keys where ${own}`.execute(transaction)
    const [earlier] = rows
    if (earlier?.digest === digest)
      return (earlier.result === null ? undefined : JSON.parse(earlier.result)) as Result
    throw new RlsError('This idempotency key stands for something else. Use a new one.', {
      code: 'ERR_RLS_KEY_REUSED',
      kind: 'conflict',
    })
  }
  const result = await run()
  // As json and not as jsonb, which has no NUL and no half of a surrogate pair.
  const text = JSON.stringify(result) as string | undefined
  await sql`update idempotency_keys set result = ${text ?? null}::json where ${own}`.execute(transaction)
  return result
}

/**
 * Forgets keys that are older than any client repeats its calls; with the system login.
 *
 * @returns how many.
 */
export async function pruneIdempotencyKeys<Database>(
  db: Kysely<Database>,
  olderThan: Duration,
): Promise<number> {
  const seconds = parseDuration(olderThan, 'pruneIdempotencyKeys: olderThan') / 1_000
  return deleteInBatches(db, 'idempotency_keys', sql`created_at < now() - make_interval(secs => ${seconds})`)
}

/**
 * Forgets the keys of a tenant, or of one of its users; with the system login.
 *
 * @returns how many.
 */
export async function eraseIdempotencyKeys<Database>(
  db: Kysely<Database>,
  { tenantId, userId }: { readonly tenantId: string; readonly userId?: string | undefined },
  options?: DeleteInBatchesOptions,
): Promise<number> {
  const ofUser = userId === undefined ? sql`` : sql`and user_id = ${userId}`
  return deleteInBatches(db, 'idempotency_keys', sql`tenant_id = ${tenantId} ${ofUser}`, options)
}

/**
 * JSON in which the order of members does not count, and of which no two values have the same: what JSON knows no form of
 * would pass for another payload.
 *
 * @throws TypeError
 */
function canonicalJson(payload: unknown): string {
  // An operation without an input.
  if (payload === undefined) return ''
  return JSON.stringify(payload, function (this: Record<string, unknown>, key, member: unknown) {
    // As it was before toJSON: a Date is its own text.
    const value = this[key] instanceof Date ? member : this[key]
    switch (typeof value) {
      case 'bigint':
        return { '\0bigint': String(value) }
      case 'number':
        if (!Number.isFinite(value)) throw unfit(key, value)
        return value
      case 'object':
        if (value === null || Array.isArray(value)) return value
        if (!isPlain(value)) throw unfit(key, value)
        return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      case 'function':
      case 'symbol':
        throw unfit(key, value)
    }
    return value
  })
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function unfit(key: string, value: unknown): TypeError {
  const what = typeof value === 'object' ? (value?.constructor.name ?? 'object') : String(value)
  return new TypeError(
    `withIdempotency: payload${key && `.${key}`}: ${what} cannot be compared. Give what JSON has.`,
  )
}

function invalidKey(): RlsError {
  return new RlsError('An idempotency key has 1 to 200 characters, and no half of a surrogate pair.', {
    code: 'ERR_RLS_INVALID_VALUE',
    kind: 'invalid-input',
  })
}
