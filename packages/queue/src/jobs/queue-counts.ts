import type { Queue as BullQueue } from 'bullmq'

/** The state of one queue at a moment. */
export interface QueueCounts {
  readonly waiting: number
  readonly delayed: number
  readonly active: number
  readonly completed: number
  /** Dead letters. */
  readonly dead: number
  /** For how long the oldest job that could run has waited, in milliseconds; 0 when none waits. */
  readonly oldestWaiting: number
}

export async function readCounts(queue: BullQueue): Promise<QueueCounts> {
  const [counts, first, [next]] = await Promise.all([
    queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'completed', 'failed'),
    queue.getJobs(['wait'], 0, 0, true),
    // The first of those whose tenants take turns has waited longest, or about as long.
    queue.getJobs(['prioritized'], 0, 0, true),
  ])
  const since = [...first, next]
    .filter((job) => job !== undefined)
    .map((job) => job.timestamp + (job.opts.delay ?? 0))
  return {
    waiting: (counts['wait'] ?? 0) + (counts['prioritized'] ?? 0),
    delayed: counts['delayed'] ?? 0,
    active: counts['active'] ?? 0,
    completed: counts['completed'] ?? 0,
    dead: counts['failed'] ?? 0,
    oldestWaiting: since.length === 0 ? 0 : Math.max(0, Date.now() - Math.min(...since)),
  }
}
