import { type Principal, systemPrincipal } from '@quintet/core'
import { giveUp } from '../errors.ts'
import { assertMayRun } from '../jobs/assert-may-run.ts'
import type { JobDefinition } from '../jobs/define-job.ts'
import { isTraceparent } from '../jobs/envelope.ts'
import { serializePayload } from '../jobs/payload.ts'
import type { Queue } from '../jobs/create-queue.ts'
import type { DeliveredEvent } from './relay-options.ts'

/** The kinds of jobs that follow from each topic. The payload of the event is that of the job. */
export type Topics = Readonly<Record<string, JobDefinition | readonly JobDefinition[]>>

/**
 * A way to deliver events: into one queue or several, by topic. The id of the event is the idempotency key, so an event
 * that comes again makes no second job while the first is remembered. A topic that is not listed makes a dead event, and
 * so does one that a single job of its topic refuses: none of them gets it then.
 */
export function deliverTo(
  queue: Pick<Queue, 'enqueue'>,
  topics: Topics,
): (event: DeliveredEvent) => Promise<void> {
  return async (event) => {
    const { topic, payload } = event
    const jobs = Object.hasOwn(topics, topic) ? topics[topic] : undefined
    if (jobs === undefined) throw giveUp(`no job takes events of the topic ${topic}`)
    await enqueueAll(queue, Array.isArray(jobs) ? jobs : [jobs as JobDefinition], payload, event)
  }
}

/** Adds the jobs that follow from an event: all, or none when one of them refuses it. */
export async function enqueueAll(
  queue: Pick<Queue, 'enqueue'>,
  jobs: readonly JobDefinition[],
  payload: unknown,
  { id, principal, traceparent }: DeliveredEvent,
): Promise<void> {
  if (jobs.length > 1) {
    for (const job of jobs) {
      assertMayRun(job, jobPrincipal(job, principal))
      await serializePayload(job, payload)
    }
  }
  for (const job of jobs) {
    await queue.enqueue(job, payload, {
      principal: jobPrincipal(job, principal),
      idempotencyKey: id,
      ...(isTraceparent(traceparent) ? { traceparent } : {}),
    })
  }
}

/** For whom a job runs that follows from an event: who caused it, or the system where the job is the system's. */
function jobPrincipal(job: JobDefinition, causer: Principal): Principal {
  const forSystem = job.operation.access === 'system' && causer.kind !== 'system'
  return forSystem ? systemPrincipal('outbox', causer.tenantId) : causer
}
