import { randomUUID } from 'node:crypto'
import { systemPrincipal } from '@quintet/core'
import type { ErasureSubject, Queue } from '@quintet/queue'
import { removals } from '../events.ts'

/** Tells an app that a user or a tenant is removed, as the auth app does. */
export async function tellRemoval(
  jobs: Queue,
  app: keyof typeof removals,
  { tenantId, userId }: ErasureSubject,
): Promise<void> {
  const occurred = { id: randomUUID(), occurredAt: new Date(0).toISOString() }
  const principal = systemPrincipal('test', tenantId)
  if (userId === undefined)
    await jobs.enqueue(
      removals[app],
      { ...occurred, topic: 'account.tenant-removed', data: {} },
      { principal },
    )
  else
    await jobs.enqueue(
      removals[app],
      { ...occurred, topic: 'account.user-removed', data: { userId } },
      { principal },
    )
}
