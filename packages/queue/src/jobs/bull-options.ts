import type { JobSchedulerTemplateOptions } from 'bullmq'
import type { JobDefinition } from './define-job.ts'

/** How BullMQ is to try a job and for how long it is to keep it. */
export function bullOptions({ attempts, retention }: JobDefinition): JobSchedulerTemplateOptions {
  return {
    attempts,
    // The worker reckons the pause.
    backoff: { type: 'quintet' },
    removeOnComplete:
      retention.completed === 0 || retention.maxCompleted === 0
        ? true
        : { age: Math.ceil(retention.completed / 1_000), count: retention.maxCompleted },
    removeOnFail: retention.dead === 0 ? true : { age: Math.ceil(retention.dead / 1_000) },
    stackTraceLimit: 1,
  }
}
