import { exportWorker } from '@quintet/example-platform/export'
import { defineKeyset } from '@quintet/rls/data'
import { sql } from 'kysely'
import type { AnalyticsServices } from './services.ts'

const inOrder = defineKeyset([
  { column: 'day', type: 'text' },
  { column: 'topic', type: 'text' },
])

/** The counts of a tenant. Of users nothing is kept. */
export const exporter = exportWorker<AnalyticsServices>(
  'analytics',
  async ({ db }, { tenantId, userId }, after) => {
    if (userId !== undefined) return { items: [], next: null }
    const counts = db.selectFrom(
      db
        .selectFrom('counts')
        .select(['topic', 'count', sql<string>`day::text`.as('day')])
        .where('tenant_id', '=', tenantId)
        .as('counts'),
    )
    const { items, next } = await inOrder.page(counts.selectAll(), { limit: 1_000, after })
    return {
      items: items.map(({ count, ...each }) => ({ kind: 'count', ...each, count: Number(count) })),
      next,
    }
  },
)
