import { exportWorker, type ReadPage } from '@quintet/example-platform/export'
import { defineKeyset } from '@quintet/rls/data'
import { toAmount } from './money.ts'
import type { LedgerServices } from './services.ts'

const byId = defineKeyset([{ column: 'id', type: 'uuid' }])
const byPosition = defineKeyset([{ column: 'entries.position', type: 'bigint' }])
const limit = 1_000

/** The accounts of a user, or all of a tenant. */
const accounts: ReadPage<LedgerServices> = async ({ db }, { tenantId, userId }, after) => {
  const rows = db
    .selectFrom('accounts')
    .innerJoin('currencies', 'code', 'currency')
    .selectAll('accounts')
    .select('minor_units')
    .where('tenant_id', '=', tenantId)
    .$if(userId !== undefined, (query) => query.where('owner_id', '=', userId ?? ''))
  const { items, next } = await byId.page(rows, { limit, after })
  return {
    items: items.map((account) => ({
      kind: 'account',
      id: account.id,
      owner: account.owner_id,
      currency: account.currency,
      balance: toAmount(account.balance, account.minor_units),
      at: account.created_at,
    })),
    next,
  }
}

/** The transfers that a user has asked for, approved of or rejected, or all of a tenant, whatever became of them. */
const transfers: ReadPage<LedgerServices> = async ({ db }, { tenantId, userId }, after) => {
  const rows = db
    .selectFrom('transfers')
    .innerJoin('currencies', 'code', 'currency')
    .selectAll('transfers')
    .select('minor_units')
    .where('tenant_id', '=', tenantId)
    .$if(userId !== undefined, (query) =>
      query.where(({ eb, or }) =>
        or(
          (['created_by', 'approved_by', 'rejected_by'] as const).map((column) =>
            eb(column, '=', userId ?? ''),
          ),
        ),
      ),
    )
  const { items, next } = await byId.page(rows, { limit, after })
  return {
    items: items.map((transfer) => ({
      kind: transfer.kind,
      id: transfer.id,
      from: transfer.from_account,
      to: transfer.to_account,
      amount: toAmount(transfer.amount, transfer.minor_units),
      currency: transfer.currency,
      status: transfer.status,
      askedBy: transfer.created_by,
      approvedBy: transfer.approved_by,
      rejectedBy: transfer.rejected_by,
      at: transfer.created_at,
    })),
    next,
  }
}

/** The entries of the accounts of a user, or of all accounts of a tenant. */
const entries: ReadPage<LedgerServices> = async ({ db }, { tenantId, userId }, after) => {
  const rows = db
    .selectFrom('entries')
    .innerJoin('accounts', 'accounts.id', 'account_id')
    .innerJoin('currencies', 'code', 'currency')
    .selectAll('entries')
    .select(['currency', 'minor_units'])
    .where('accounts.tenant_id', '=', tenantId)
    .$if(userId !== undefined, (query) => query.where('owner_id', '=', userId ?? ''))
  const { items, next } = await byPosition.page(rows, { limit, after })
  return {
    items: items.map((entry) => ({
      kind: 'entry',
      account: entry.account_id,
      transfer: entry.transfer_id,
      amount: toAmount(entry.amount, entry.minor_units),
      currency: entry.currency,
      at: entry.created_at,
    })),
    next,
  }
}

export const exporter = exportWorker('ledger', accounts, transfers, entries)
