import type { TransportHost } from '@quintet/core/kit'
import type { Query } from './create-query.ts'
import type { ResolvedRelay } from './relay-options.ts'

/** Counts no further than this: the check must stay cheap when very many events wait. */
const countLimit = 10_000

/** Reports what waits and what is dead; fails for dead events and when the oldest waits for too long. */
export function addRelayHealth(query: Query, { maxLag }: ResolvedRelay, host: TransportHost): void {
  host.health.add({
    name: 'outbox',
    critical: false,
    async check() {
      const { rows } = await query(
        `select
           (select count(*)::int from (select from outbox where dead_at is null limit $1) as p) as pending,
           (select count(*)::int from (select from outbox where dead_at is not null limit $1) as d) as dead,
           coalesce((select extract(epoch from now() - created_at) from outbox
             where dead_at is null order by position limit 1), 0)::float as age`,
        [countLimit],
      )
      const { pending, dead, age } = rows[0] as { pending: number; dead: number; age: number }
      const detail = `${count(pending)} pending, ${count(dead)} dead, the oldest waits for ${Math.round(age)} s`
      if (dead > 0 || age * 1_000 > maxLag) throw new Error(detail)
      return detail
    },
  })
}

function count(number: number): string {
  return number < countLimit ? String(number) : `${countLimit} or more`
}
