import { recordEvent } from '@quintet/example-platform/events'
import { withInbox, worker, type JobCall } from '@quintet/queue'
import { countEvent } from './counts.ts'
import type { AnalyticsServices } from './services.ts'

/** Counts the events of the other apps, each once, however often its job runs. */
export const ingest = worker(
  recordEvent,
  { queue: ({ jobs }: AnalyticsServices) => jobs, concurrency: 8 },
  record,
)

async function record({
  payload,
  services,
  principal,
}: JobCall<typeof recordEvent, AnalyticsServices>): Promise<void> {
  const { tenantId } = principal
  const { id, topic, occurredAt } = payload
  await services.db.transaction().execute(async (trx) => {
    await withInbox(trx, { consumer: 'analytics', eventId: id, tenantId }, () =>
      countEvent(trx, { tenantId, topic, occurredAt }),
    )
  })
}
