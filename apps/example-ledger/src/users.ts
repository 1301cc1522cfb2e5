import { QuintetError } from '@quintet/core'
import { userChanges } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import type { Transaction } from 'kysely'
import type { LedgerTables } from './schema.ts'
import type { LedgerServices } from './services.ts'

/**
 * Follows who belongs to which tenant. Events may come in any order and more than once: who was removed stays so.
 */
export const followUsers = worker(
  userChanges,
  { queue: ({ jobs }: LedgerServices) => jobs },
  async ({
    payload: { topic, data },
    principal,
    services: { db },
  }: JobCall<typeof userChanges, LedgerServices>) => {
    const { tenantId } = principal
    if (tenantId === null) return
    const removed = topic === 'account.user-removed'
    await asSystem('follow the users of a tenant', () =>
      db
        .insertInto('users')
        .values({ tenant_id: tenantId, id: data.userId, removed })
        .onConflict((conflict) =>
          removed ? conflict.columns(['tenant_id', 'id']).doUpdateSet({ removed }) : conflict.doNothing(),
        )
        .execute(),
    )
  },
)

/** @throws QuintetError `ERR_LEDGER_NO_USER` (not-found) for an id that is no user of the tenant of the transaction. */
export async function assertUser(trx: Transaction<LedgerTables>, userId: string): Promise<void> {
  const user = await trx
    .selectFrom('users')
    .select('id')
    .where('id', '=', userId)
    .where('removed', '=', false)
    .executeTakeFirst()
  if (user) return
  throw new QuintetError('The tenant has no such user, or the ledger has not heard of them yet.', {
    code: 'ERR_LEDGER_NO_USER',
    kind: 'not-found',
  })
}
