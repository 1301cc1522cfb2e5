import { randomUUID } from 'node:crypto'
import { systemPrincipal, type Principal } from '@quintet/core'
import type { ErasureSubject, Queue } from '@quintet/queue'
import { removals } from '../events.ts'

/** Tells an app that a user or a tenant is removed, as the auth app does. */
export async function tellRemoval(
  jobs: Queue,
  app: keyof typeof removals,
  { tenantId, userId }: ErasureSubject,
  principal: Principal = systemPrincipal('test', tenantId),
): Promise<void> {
  const event = { id: randomUUID(), occurredAt: new Date(0).toISOString() }
  await jobs.enqueue(
    removals[app],
    userId === undefined
      ? { ...event, topic: 'account.tenant-removed', data: {} }
      : { ...event, topic: 'account.user-removed', data: { userId } },
    { principal },
  )
}
