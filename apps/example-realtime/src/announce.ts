import { announcedEvents, topics } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { channelsOf } from './channels.ts'
import type { RealtimeServices } from './services.ts'

/** Sends the events of the other apps to the WebSocket clients of their audience, in the tenant in which they happened. */
export const announcer = worker(
  announcedEvents,
  { queue: ({ jobs }: RealtimeServices) => jobs, concurrency: 8 },
  announce,
)

/** A client that hears an event on two channels knows it by its id. */
async function announce({
  payload,
  services,
  principal,
}: JobCall<typeof announcedEvents, RealtimeServices>): Promise<void> {
  const { tenantId } = principal
  for (const channel of channelsOf(topics.audienceOf(payload)))
    await services.publisher.publish(channel, { tenantId }, payload)
}
