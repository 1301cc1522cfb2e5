import { QuintetError, uuidv7 } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import type { Kysely, Selectable, Transaction } from 'kysely'
import type { LedgerTables } from './schema.ts'

export type Account = Selectable<LedgerTables['accounts']>

/** Opens an account in the tenant of the caller. */
export async function openAccount(
  db: Kysely<LedgerTables>,
  account: { readonly tenantId: string; readonly ownerId: string; readonly currency: string },
): Promise<Account> {
  return db
    .insertInto('accounts')
    .values({
      id: uuidv7(),
      tenant_id: account.tenantId,
      owner_id: account.ownerId,
      currency: account.currency,
      balance: 0n,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

const oldestFirst = defineKeyset([{ column: 'id', type: 'uuid' }])

/** A page of the accounts of one user, or of all users of the tenant, oldest first. */
export async function listAccounts(
  db: Kysely<LedgerTables>,
  whose: { readonly ownerId?: string },
  page: KeysetRequest,
): Promise<KeysetPage<Account>> {
  const { ownerId } = whose
  const accounts = db.selectFrom('accounts').selectAll()
  return oldestFirst.page(
    ownerId === undefined
      ? accounts.where('owner_id', 'is not', null)
      : accounts.where('owner_id', '=', ownerId),
    page,
  )
}

/** The tenant's equity account of a currency, made when it is first needed. */
export async function equityAccount(
  trx: Transaction<LedgerTables>,
  tenantId: string,
  currency: string,
): Promise<Account> {
  await trx
    .insertInto('accounts')
    .values({ tenant_id: tenantId, owner_id: null, currency, balance: 0n })
    .onConflict((conflict) =>
      conflict.columns(['tenant_id', 'currency']).where('owner_id', 'is', null).doNothing(),
    )
    .execute()
  return trx
    .selectFrom('accounts')
    .selectAll()
    .where('currency', '=', currency)
    .where('owner_id', 'is', null)
    .executeTakeFirstOrThrow()
}

/**
 * Locks two accounts, always in the order of their ids, so that two transfers between them cannot wait
 * for each other for ever.
 */
export async function lockAccounts(
  trx: Transaction<LedgerTables>,
  fromId: string,
  toId: string,
): Promise<{ readonly from: Account; readonly to: Account }> {
  const accounts = await trx
    .selectFrom('accounts')
    .selectAll()
    .where('id', 'in', [fromId, toId])
    .orderBy('id')
    .forUpdate()
    .execute()
  return { from: pick(accounts, fromId), to: pick(accounts, toId) }
}

function pick(accounts: readonly Account[], id: string): Account {
  const account = accounts.find((candidate) => candidate.id === id)
  if (account) return account
  throw new QuintetError(`There is no account ${id}.`, { code: 'ERR_LEDGER_NO_ACCOUNT', kind: 'not-found' })
}
