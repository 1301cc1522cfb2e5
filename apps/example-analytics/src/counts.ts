import { sql, type Kysely, type Transaction } from 'kysely'
import type { AnalyticsTables } from './schema.ts'

/** Counts one event of the tenant. */
export async function countEvent(
  trx: Transaction<AnalyticsTables>,
  event: { readonly tenantId: string; readonly topic: string; readonly occurredAt: string },
): Promise<void> {
  await trx
    .insertInto('counts')
    .values({ tenant_id: event.tenantId, topic: event.topic, day: event.occurredAt.slice(0, 10), count: 1 })
    .onConflict((conflict) =>
      conflict.columns(['tenant_id', 'topic', 'day']).doUpdateSet({ count: sql<number>`counts.count + 1` }),
    )
    .execute()
}

/** How many events of each topic the tenant has, over all days. */
export async function totals(
  db: Kysely<AnalyticsTables>,
): Promise<readonly { readonly topic: string; readonly count: number }[]> {
  const rows = await db
    .selectFrom('counts')
    .select(['topic', (column) => column.fn.sum<string>('count').as('count')])
    .groupBy('topic')
    .orderBy('topic')
    .execute()
  return rows.map(({ topic, count }) => ({ topic, count: Number(count) }))
}
