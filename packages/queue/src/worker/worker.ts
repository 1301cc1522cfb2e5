import type { Transport } from '@quintet/core'
import type { JobDefinition } from '../jobs/define-job.ts'
import type { JobCall, JobHandler } from './job-call.ts'
import { startWorker } from './start-worker.ts'
import { resolveWorkerOptions, type WorkerOptions } from './worker-options.ts'

/**
 * A transport that runs the jobs of one kind, each through the pipeline of its process: the envelope is verified, the
 * access rule decides, the payload is checked, the wrappers open, the handler runs.
 *
 * What is refused becomes a dead letter at once; what fails otherwise is tried again, later each time. Draining takes
 * no further job, waits for those in progress, and at the deadline aborts their signals and gives them back. A job whose
 * lock is lost has its signal aborted, and that run counts as an attempt.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const thumbnails = worker(makeThumbnail, { queue, concurrency: 2 }, ({ payload, signal }) => resize(payload, signal))
 */
export function worker<Job extends JobDefinition, Services = unknown>(
  job: Job,
  options: WorkerOptions<Services>,
  handler: JobHandler<Job, Services>,
): Transport {
  const path = `worker ${job.name}`
  const { queue, ...rest } = options
  const resolved = resolveWorkerOptions(rest, path)
  if (queue === undefined) throw new TypeError(`${path}: needs a queue.`)
  if (typeof handler !== 'function') throw new TypeError(`${path}: needs a handler as its third argument.`)
  return {
    name: `worker:${job.name}`,
    operations: [job.operation],
    start: (host) =>
      startWorker({
        job,
        host,
        // The process hands over what its setup returned; the author of the worker says what that is.
        queue: typeof queue === 'function' ? queue(host.services as Services) : queue,
        options: resolved,
        // The schema has made the payload, and the pipeline has let the principal pass the access rule.
        handle: (call) => handler(call as JobCall<Job, Services>),
      }),
  }
}
