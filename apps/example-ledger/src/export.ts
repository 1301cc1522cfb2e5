import { exportWorker } from '@quintet/example-platform/export'
import { defineKeyset } from '@quintet/rls/data'
import { toAmount } from './money.ts'
import type { LedgerServices } from './services.ts'

const inOrder = defineKeyset([{ column: 'entries.position', type: 'bigint' }])

/** The entries of the accounts of a user, or of all accounts of a tenant. */
export const exporter = exportWorker<LedgerServices>(
  'ledger',
  async ({ db }, { tenantId, userId }, after) => {
    const entries = db
      .selectFrom('entries')
      .innerJoin('accounts', 'accounts.id', 'account_id')
      .innerJoin('currencies', 'code', 'currency')
      .selectAll('entries')
      .select(['currency', 'minor_units'])
      .where('accounts.tenant_id', '=', tenantId)
      .$if(userId !== undefined, (query) => query.where('owner_id', '=', userId ?? ''))
    const { items, next } = await inOrder.page(entries, { limit: 1_000, after })
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
  },
)
