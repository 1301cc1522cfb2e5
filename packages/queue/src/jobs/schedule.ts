import type { Schema, SchemaInput, Transport } from '@quintet/core'
import type { RunningTransport } from '@quintet/core/kit'
import type { JobDefinition } from './define-job.ts'
import { assertSchedule, type JobSchedule } from './job-schedule.ts'
import type { Queue } from './create-queue.ts'

export interface ScheduleOptions<Payload extends Schema> extends JobSchedule {
  readonly queue: Pick<Queue, 'schedule'>
  readonly payload: SchemaInput<Payload>
}

/**
 * Makes a schedule for a job with access `'system'`, to be listed under `workers` of a process. However many
 * processes have it, each time comes once; a change takes effect when the first of them starts with it. It goes on
 * while none of them runs, until `queue.unschedule`.
 *
 * @throws TypeError for options that are unknown or make no sense, and for a job that is none of the system's.
 */
export function schedule<Payload extends Schema>(
  job: JobDefinition<Payload>,
  options: ScheduleOptions<Payload>,
): Transport {
  const { queue, ...timing } = options
  assertSchedule(job, timing)
  return {
    name: `schedule:${job.name}:${timing.name ?? 'default'}`,
    async start(): Promise<RunningTransport> {
      await queue.schedule(job, timing)
      return { url: undefined, drain: () => Promise.resolve(), close: () => Promise.resolve() }
    },
  }
}
