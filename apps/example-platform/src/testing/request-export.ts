import { randomUUID } from 'node:crypto'
import { systemPrincipal, type Principal } from '@quintet/core'
import type { ErasureSubject, Queue } from '@quintet/queue'
import { exports } from '../events.ts'

/** Asks an app for what it keeps of a user or a tenant, as the auth app does. */
export async function requestExport(
  jobs: Queue,
  app: keyof typeof exports,
  { tenantId, userId }: ErasureSubject,
  principal: Principal = systemPrincipal('test', tenantId),
  { part = 0, after = null }: { readonly part?: number; readonly after?: string | null } = {},
): Promise<void> {
  await jobs.enqueue(
    exports[app],
    {
      id: randomUUID(),
      topic: 'account.export-requested',
      occurredAt: new Date(0).toISOString(),
      data: { exportId: randomUUID(), userId: userId ?? null, part, after },
    },
    { principal },
  )
}
