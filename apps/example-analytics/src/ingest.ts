import { countedEvents } from '@quintet/example-platform/events'
import { withInbox, worker, type JobCall } from '@quintet/queue'
import { countEvent } from './counts.ts'
import type { AnalyticsServices } from './services.ts'

/** Counts the events of the other apps, each once, however often its job runs. */
export const ingest = worker(
  countedEvents,
  { queue: ({ jobs }: AnalyticsServices) => jobs, concurrency: 8 },
  record,
)

async function record({
  payload: { id, topic, occurredAt },
  services,
  principal,
}: JobCall<typeof countedEvents, AnalyticsServices>): Promise<void> {
  const { tenantId } = principal
  await services.db.transaction().execute(async (trx) => {
    await withInbox(trx, { consumer: 'analytics', eventId: id, tenantId }, () =>
      countEvent(trx, { tenantId, topic, occurredAt }),
    )
  })
}
