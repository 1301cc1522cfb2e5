import { erasureWorker } from '@quintet/example-platform/erasure'
import { countedEvents, topics } from '@quintet/example-platform/events'
import { asSystem } from '@quintet/rls'
import { deleteInBatches } from '@quintet/rls/data'
import { sql } from 'kysely'
import type { AnalyticsServices } from './services.ts'

/** Erases the counts of tenants that are removed. Of users nothing is kept but the jobs of their events. */
export const eraser = erasureWorker<AnalyticsServices>('analytics', async ({ db, jobs }, subject, signal) => {
  const { pending } = await jobs.erase(countedEvents, subject, (payload) =>
    topics.subjectsOf(payload as never),
  )
  if (pending > 0) throw new Error(`${pending} events are still to be counted`)
  if (subject.userId !== undefined) return
  await asSystem('erase a tenant', async () => {
    await db.deleteFrom('counts').where('tenant_id', '=', subject.tenantId).execute()
    await deleteInBatches(db, 'inbox', sql`tenant_id = ${subject.tenantId}`, { signal })
  })
})
