import type { ActiveJobs } from './active-jobs.ts'
import type { WorkerParts } from './worker-parts.ts'

/**
 * Reports the queue of a worker; fails when the worker has stopped or lost Redis, when the oldest job waits for too long,
 * and when handlers that ignore the end of their time have taken every place.
 */
export function addWorkerHealth(
  { job, queue, host, options }: Omit<WorkerParts, 'handle'>,
  runs: ActiveJobs,
  isRunning: () => boolean,
): void {
  host.health.add({
    name: `queue:${job.name}`,
    critical: false,
    async check() {
      if (!isRunning()) throw new Error('the worker has stopped or has no connection to Redis')
      const { waiting, active, dead, oldestWaiting } = await queue.counts(job)
      const detail = `${waiting} waiting, ${active} active, ${dead} dead, the oldest waits for ${Math.round(oldestWaiting)} ms`
      if (oldestWaiting > options.maxLag) throw new Error(detail)
      if (runs.overdue >= options.concurrency)
        throw new Error(`${detail}; every place is taken by a handler that ignores the end of its time`)
      return detail
    },
  })
}
