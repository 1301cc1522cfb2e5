import { erasureWorker } from '@quintet/example-platform/erasure'
import { asSystem } from '@quintet/rls'
import { deleteInBatches, eraseIdempotencyKeys } from '@quintet/rls/data'
import { sql } from 'kysely'
import type { LedgerServices } from './services.ts'

/** How many rows one transaction erases. */
const batch = 5_000

/**
 * Erases a tenant and its books. Of a user who is removed, the books of the tenant keep accounts and transfers under an id
 * that stands for no one any more; what they said of a transfer is kept as a digest alone.
 */
export const eraser = erasureWorker<LedgerServices>(
  'ledger',
  async ({ db }, { tenantId, userId }, signal) => {
    await asSystem('erase what is kept of a user or tenant', async () => {
      await eraseIdempotencyKeys(db, { tenantId, userId }, { signal })
      if (userId !== undefined) return
      let gone: number | undefined
      while (gone !== 0) {
        signal.throwIfAborted()
        const { rows } = await sql<{
          gone: number
        }>`select erase_tenant(${tenantId}, ${batch}) as gone`.execute(db)
        gone = rows[0]?.gone ?? 0
      }
      await deleteInBatches(db, 'users', sql`tenant_id = ${tenantId}`, { signal })
    })
  },
)
