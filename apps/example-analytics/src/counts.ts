import { asSystem } from '@quintet/rls'
import { deleteInBatches } from '@quintet/rls/data'
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

/** Days as `2026-01-31`, in UTC, both included. */
export interface Range {
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export interface Count {
  readonly topic: string
  readonly count: number
  /** The first day of the period that is counted; missing where all of the range is. */
  readonly period?: string
}

/** How many events of each topic the tenant has in the range, in all or rolled up by periods. */
export async function countsOf(
  db: Kysely<AnalyticsTables>,
  { from, to }: Range,
  by?: 'day' | 'month',
): Promise<readonly Count[]> {
  const period =
    by === undefined
      ? sql<string | null>`null`
      : sql<string | null>`date_trunc(${by}, day::timestamp)::date::text`
  const rows = await db
    .selectFrom('counts')
    .select(['topic', period.as('period'), (column) => column.fn.sum<string>('count').as('count')])
    .$if(from !== undefined, (query) => query.where('day', '>=', sql<Date>`${from}::date`))
    .$if(to !== undefined, (query) => query.where('day', '<=', sql<Date>`${to}::date`))
    .groupBy(['topic', sql`2`])
    .orderBy(sql`2`)
    .orderBy('topic')
    .execute()
  return rows.map(({ topic, count, period: since }) => ({
    topic,
    count: Number(count),
    ...(since !== null && { period: since }),
  }))
}

/** Forgets the counts of days that are longer ago; across all tenants. */
export async function pruneCounts(db: Kysely<AnalyticsTables>, days: number): Promise<number> {
  return asSystem('prune counts', () =>
    deleteInBatches(db, 'counts', sql`day < (now() at time zone 'UTC')::date - ${days}::int`),
  )
}
