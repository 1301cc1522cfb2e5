import { QuintetError } from '@quintet/core'
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
      tenant_id: account.tenantId,
      owner_id: account.ownerId,
      currency: account.currency,
      balance: 0n,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function listAccounts(db: Kysely<LedgerTables>): Promise<readonly Account[]> {
  return db
    .selectFrom('accounts')
    .selectAll()
    .where('owner_id', 'is not', null)
    .orderBy('created_at')
    .orderBy('id')
    .execute()
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
