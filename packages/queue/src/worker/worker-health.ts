import type { WorkerParts } from './worker-parts.ts'

/** Reports the queue of a worker; fails when the worker has stopped and when the oldest job waits for too long. */
export function addWorkerHealth(
  { job, queue, host, options }: Omit<WorkerParts, 'handle'>,
  isRunning: () => boolean,
): void {
  host.health.add({
    name: `queue:${job.name}`,
    critical: false,
    async check() {
      if (!isRunning()) throw new Error('the worker has stopped')
      const { waiting, active, dead, oldestWaiting } = await queue.counts(job)
      const detail = `${waiting} waiting, ${active} active, ${dead} dead, the oldest waits for ${Math.round(oldestWaiting)} ms`
      if (oldestWaiting > options.maxLag) throw new Error(detail)
      return detail
    },
  })
}
