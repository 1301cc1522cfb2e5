import type { Transport } from '@quintet/core'
import { worker, type ErasureSubject, type JobCall, type Queue } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import { exportParts, exports } from './events.ts'

/** Reads what an app keeps of a user or a tenant, piece by piece, as JSON. */
export type Collect<Services> = (
  services: Services,
  subject: ErasureSubject,
) => AsyncIterable<readonly unknown[]>

/**
 * The worker by which an app hands over what it keeps of a user or a tenant, in parts. It may run again: a part that has
 * arrived is the same job, and is not added twice.
 */
export function exportWorker<Services extends { readonly jobs: Queue }>(
  app: keyof typeof exports,
  collect: Collect<Services>,
): Transport {
  const job = exports[app]
  return worker(job, { queue: ({ jobs }: Services) => jobs }, (call: JobCall<typeof job, Services>) => {
    const { payload, principal, services } = call
    const { exportId, userId } = payload.data
    const { tenantId } = principal
    if (tenantId === null) return undefined
    return asSystem('export what is kept of a user or tenant', async () => {
      let part = 0
      const send = async (rows: readonly unknown[], last: boolean): Promise<void> => {
        const idempotencyKey = `${exportId}/${app}/${part}`
        await services.jobs.enqueue(
          exportParts,
          { exportId, app, part: part++, last, rows: [...rows] },
          { principal, idempotencyKey },
        )
      }
      for await (const rows of collect(services, { tenantId, ...(userId !== null && { userId }) }))
        await send(rows, false)
      await send([], true)
    })
  })
}
