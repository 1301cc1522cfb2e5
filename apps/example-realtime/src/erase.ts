import { erasureWorker } from '@quintet/example-platform/erasure'
import { announcedEvents, topics } from '@quintet/example-platform/events'
import type { RealtimeServices } from './services.ts'

/** Erases the histories in which users and tenants that are removed are told of. */
export const eraser = erasureWorker<RealtimeServices>('realtime', async ({ jobs, publisher }, subject) => {
  const { pending } = await jobs.erase(announcedEvents, subject, (payload) =>
    topics.subjectsOf(payload as never),
  )
  if (pending > 0) throw new Error(`${pending} events are still to be announced`)
  await publisher.eraseHistories({ tenantId: subject.tenantId }, subject.userId)
})
