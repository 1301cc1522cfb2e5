import { asSystem } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'
import type { LedgerTables } from './schema.ts'

/** What does not add up. */
export interface Discrepancy {
  readonly what: 'account' | 'transfer' | 'currency'
  /** The id of an account or transfer, or a tenant and its currency. */
  readonly id: string
}

/**
 * Reconciles the ledger, across all tenants: every balance equals the sum of its entries and what its last entry says, the
 * entries of every posted transfer are two and sum to zero, and so do all balances of a tenant in a currency.
 */
export async function reconcile(db: Kysely<LedgerTables>): Promise<readonly Discrepancy[]> {
  const { rows } = await asSystem('reconcile the ledger', () =>
    db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute((trx) =>
        sql<Discrepancy>`
          select 'account' as what, accounts.id::text as id from accounts
          left join (select account_id, sum(amount) as sum, (array_agg(balance_after order by position desc))[1] as last
            from entries group by account_id) as made on made.account_id = accounts.id
          where balance <> coalesce(sum, 0) or balance <> coalesce(last, 0)
          union all
          select 'transfer', transfers.id::text from transfers
          left join (select transfer_id, count(*) as count, sum(amount) as sum from entries group by transfer_id)
            as made on made.transfer_id = transfers.id
          where coalesce(count, 0) <> (case when status = 'awaiting' then 0 else 2 end) or coalesce(sum, 0) <> 0
          union all
          select 'currency', tenant_id || ' ' || currency from accounts group by tenant_id, currency having sum(balance) <> 0
        `.execute(trx),
      ),
  )
  return rows
}
