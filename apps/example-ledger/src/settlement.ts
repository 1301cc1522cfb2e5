import { asSystem } from '@quintet/rls'
import type { Lease, Leases } from '@quintet/queue'
import type { Kysely } from 'kysely'
import type { LedgerTables } from './schema.ts'

/** How many transfers are settled in one transaction. */
const batch = 500

/**
 * Marks all posted transfers as settled, across all tenants, batch by batch. Each batch counts only while the lease is
 * held: a worker that was too slow and has lost it writes nothing.
 *
 * @returns how many were settled.
 */
export async function settle(
  db: Kysely<LedgerTables>,
  leases: Leases,
  lease: Lease,
  signal?: AbortSignal,
): Promise<number> {
  let settled = 0
  let last: number
  do {
    signal?.throwIfAborted()
    last = await settleBatch(db, leases, lease)
    settled += last
  } while (last === batch)
  return settled
}

async function settleBatch(db: Kysely<LedgerTables>, leases: Leases, lease: Lease): Promise<number> {
  return asSystem('settle transfers', () =>
    db.transaction().execute(async (trx) => {
      await leases.fence(trx, lease)
      const due = trx
        .selectFrom('transfers')
        .select('id')
        .where('status', '=', 'posted')
        .orderBy('created_at')
        .limit(batch)
        .forUpdate()
        .skipLocked()
      const result = await trx
        .updateTable('transfers')
        .set({ status: 'settled', settled_epoch: lease.epoch })
        .where('id', 'in', due)
        .executeTakeFirst()
      return Number(result.numUpdatedRows)
    }),
  )
}
