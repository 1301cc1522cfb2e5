import { announcedEvents } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import type { RealtimeServices } from './services.ts'

/** Sends the events of the other apps to the WebSocket clients of the tenant in which they happened. */
export const announcer = worker(
  announcedEvents,
  { queue: ({ jobs }: RealtimeServices) => jobs, concurrency: 8 },
  announce,
)

async function announce({
  payload: { topic, occurredAt, data },
  services,
  principal,
}: JobCall<typeof announcedEvents, RealtimeServices>): Promise<void> {
  await services.publisher.publish('events', { tenantId: principal.tenantId }, { topic, occurredAt, data })
}
