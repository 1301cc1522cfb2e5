import { QuintetError } from '@quintet/core'
import { roleLosses } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import { sql } from 'kysely'
import type { LedgerServices } from './services.ts'
import { findMaker } from './transfers.ts'

/**
 * Holds the maker of what awaits an approval against their sessions, which end at once with their account, roles or password:
 * the event of it may take its time.
 *
 * @throws QuintetError `ERR_LEDGER_MAKER_SIGNED_OUT` (conflict)
 */
export async function assertMakerStands({ db, verifier }: LedgerServices, transfer: string): Promise<void> {
  const maker = await findMaker(db, transfer)
  if (maker === undefined || !(await verifier.hasEndedSince(maker, maker.epoch))) return
  throw new QuintetError(
    'All sessions of who brought it in have been ended since. Reject it, and let an owner bring it in anew.',
    { code: 'ERR_LEDGER_MAKER_SIGNED_OUT', kind: 'conflict' },
  )
}

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
