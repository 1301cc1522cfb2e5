import { roleLosses } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import { sql } from 'kysely'
import type { LedgerServices } from './services.ts'

/** Rejects what awaits an approval of who is an owner no more, whether they were removed or have other roles. */
export const formerOwners = worker(
  roleLosses,
  { queue: ({ jobs }: LedgerServices) => jobs },
  async ({ payload, principal, services }: JobCall<typeof roleLosses, LedgerServices>) => {
    if (payload.topic === 'account.roles-changed' && payload.data.roles.includes('owner')) return
    await asSystem('reject what a former owner has asked for', () =>
      sql`select reject_transfers_of(${principal.tenantId}, ${payload.data.userId})`.execute(services.db),
    )
  },
)
