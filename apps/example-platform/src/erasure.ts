import { worker, type ErasureSubject, type Erased, type JobCall, type Queue } from '@quintet/queue'
import type { Transport } from '@quintet/core'
import { removals } from './events.ts'

/**
 * Erases what an app keeps of a user or a tenant, in batches, however much it is: there is no time limit, and the signal
 * aborts when the process ends. May run again, after a crash or for what was still on its way.
 */
export type Erase<Services> = (
  services: Services,
  subject: ErasureSubject,
  signal: AbortSignal,
) => Promise<void>

interface Erasing {
  readonly jobs: Queue
  readonly events?: { erase(subject: ErasureSubject): Promise<Erased> }
}

/**
 * The worker by which an app erases what it keeps of users and tenants that are removed: first what it holds itself, then
 * the traces in its outbox and in the queues that it fills. What is still on its way makes it try again later.
 */
export function erasureWorker<Services extends Erasing>(
  app: keyof typeof removals,
  erase: Erase<Services>,
): Transport {
  const job = removals[app]
  return worker(job, { queue: ({ jobs }: Services) => jobs }, async (call: JobCall<typeof job, Services>) => {
    const { payload, principal, services } = call
    if (principal.tenantId === null) return
    const subject =
      payload.topic === 'account.user-removed'
        ? { tenantId: principal.tenantId, userId: payload.data.userId }
        : { tenantId: principal.tenantId }
    await erase(services, subject, call.signal)
    const { pending = 0 } = (await services.events?.erase(subject)) ?? {}
    if (pending > 0) throw new Error(`${pending} events and jobs are still on their way`)
  })
}
