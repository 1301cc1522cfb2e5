import { QuintetError, uuidv7 } from '@quintet/core'
import { defineKeyset, withIdempotency, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import type { Kysely, Selectable } from 'kysely'
import type { LedgerTables } from './schema.ts'
import { assertUser } from './users.ts'

export type Account = Selectable<LedgerTables['accounts']> & { readonly minor_units: number }

export interface NewAccount {
  readonly tenantId: string
  readonly ownerId: string
  readonly currency: string
}

/** Who opens an account, and under which key: with one, once. */
export interface Opening {
  readonly caller: { readonly tenantId: string; readonly userId: string }
  readonly idempotencyKey?: string | undefined
  readonly authorize: () => unknown
}

/**
 * Opens an account in the tenant of the caller.
 *
 * @throws QuintetError `ERR_LEDGER_NO_CURRENCY` (invalid-input), `ERR_LEDGER_NO_USER` (not-found), and what `authorize` throws.
 */
export async function openAccount(
  db: Kysely<LedgerTables>,
  account: NewAccount,
  { caller, idempotencyKey: key, authorize }: Opening,
): Promise<Account> {
  return db.transaction().execute(async (trx) => {
    const open = async (): Promise<Account> => {
      if (account.ownerId !== caller.userId) await assertUser(trx, account.ownerId)
      return insertAccount(trx, account)
    }
    if (key === undefined) {
      await authorize()
      return open()
    }
    return withIdempotency(trx, { caller, operation: 'open', key, payload: account, authorize }, open)
  })
}

async function insertAccount(db: Kysely<LedgerTables>, account: NewAccount): Promise<Account> {
  const currency = await db
    .selectFrom('currencies')
    .select('minor_units')
    .where('code', '=', account.currency)
    .executeTakeFirst()
  if (!currency)
    throw new QuintetError(`There are no accounts in ${account.currency}.`, {
      code: 'ERR_LEDGER_NO_CURRENCY',
      kind: 'invalid-input',
    })
  const opened = await db
    .insertInto('accounts')
    .values({
      id: uuidv7(),
      tenant_id: account.tenantId,
      owner_id: account.ownerId,
      currency: account.currency,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return { ...opened, ...currency }
}

const oldestFirst = defineKeyset([{ column: 'accounts.id', type: 'uuid' }])

/** A page of the accounts that the caller may see, oldest first: their own, or those of all users of the tenant. */
export async function listAccounts(
  db: Kysely<LedgerTables>,
  page: KeysetRequest,
): Promise<KeysetPage<Account>> {
  return oldestFirst.page(
    db
      .selectFrom('accounts')
      .innerJoin('currencies', 'code', 'currency')
      .selectAll('accounts')
      .select('minor_units')
      .where('owner_id', 'is not', null),
    page,
  )
}

export type StatementEntry = Selectable<LedgerTables['entries']> & {
  readonly minor_units: number
  readonly kind: string
}

const newestFirst = defineKeyset([{ column: 'entries.position', type: 'bigint', direction: 'desc' }])

/**
 * The statement of an account: what went in and out, and what it held then, newest first.
 *
 * @throws QuintetError `ERR_LEDGER_NO_ACCOUNT` (not-found), also for an account that the caller may not see.
 */
export async function readStatement(
  db: Kysely<LedgerTables>,
  accountId: string,
  page: KeysetRequest,
): Promise<KeysetPage<StatementEntry>> {
  const account = await db.selectFrom('accounts').select('id').where('id', '=', accountId).executeTakeFirst()
  if (!account)
    throw new QuintetError(`There is no account ${accountId}.`, {
      code: 'ERR_LEDGER_NO_ACCOUNT',
      kind: 'not-found',
    })
  return newestFirst.page(
    db
      .selectFrom('entries')
      .innerJoin('transfers', 'transfers.id', 'transfer_id')
      .innerJoin('currencies', 'code', 'transfers.currency')
      .selectAll('entries')
      .select(['minor_units', 'transfers.kind'])
      .where('account_id', '=', accountId),
    page,
  )
}
