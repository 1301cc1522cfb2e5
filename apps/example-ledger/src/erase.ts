import { erasureWorker } from '@quintet/example-platform/erasure'
import { asSystem } from '@quintet/rls'
import { sql } from 'kysely'
import type { LedgerServices } from './services.ts'

/**
 * Erases a tenant and its books. Of a user who is removed, the books of the tenant keep accounts and transfers under an id
 * that stands for no one any more; their idempotency keys go.
 */
export const eraser = erasureWorker<LedgerServices>('ledger', async ({ db }, { tenantId, userId }) => {
  await asSystem('erase what is kept of a user or tenant', async () => {
    await sql`delete from idempotency_keys where tenant_id = ${tenantId}
      and (${userId ?? null}::text is null or user_id = ${userId ?? null})`.execute(db)
    if (userId === undefined) await sql`select erase_tenant(${tenantId})`.execute(db)
  })
})
