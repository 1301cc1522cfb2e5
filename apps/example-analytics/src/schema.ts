import type { ColumnType } from 'kysely'

/** The tables of analytics, as Kysely knows them. */
export interface AnalyticsTables {
  counts: {
    tenant_id: string
    topic: string
    /** The day of the events, in UTC. */
    day: ColumnType<Date, string, never>
    count: ColumnType<string, number, number>
  }
}
