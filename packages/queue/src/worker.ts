import type {
  AccessRule,
  Logger,
  Principal,
  PrincipalFor,
  Schema,
  SchemaOutput,
  Transport,
} from '@quintet/core'
import type { JobDefinition } from './define-job.ts'
import { startWorker } from './running-worker.ts'
import { resolveWorkerOptions, resolveWorkerQueue, type WorkerOptions } from './worker-options.ts'

/** What the handler of a job gets, by payload, services and principal. */
export interface CallOfJob<Payload, Services, Caller extends Principal> {
  readonly payload: Payload
  /** Those of the process. */
  readonly services: Services
  /** For whom it runs, as the signed envelope says. */
  readonly principal: Caller
  /** The same for every attempt. */
  readonly jobId: string
  /** Counts from 1. */
  readonly attempt: number
  /** Aborts at the timeout, and when the process must stop. */
  readonly signal: AbortSignal
  readonly logger: Logger
}

/** What a job's handler gets: `JobCall<typeof makeThumbnail, Services>`, or `JobCall<Payload, Services, UserPrincipal>`. */
export type JobCall<JobOrPayload, Services = unknown, Caller extends Principal = Principal> =
  JobOrPayload extends JobDefinition<infer Payload, infer Access>
    ? CallOfJob<SchemaOutput<Payload>, Services, PrincipalFor<Access>>
    : CallOfJob<JobOrPayload, Services, Caller>

/** Does the work. It may run more than once for one job, so its effect should be the same then; see `withInbox`. */
export type JobHandler<Payload, Services, Caller extends Principal> = (
  call: CallOfJob<Payload, Services, Caller>,
) => Promise<unknown> | unknown

/**
 * A transport that runs the jobs of one kind, each through the pipeline of its process: the envelope is verified, the
 * access rule decides, the payload is checked, the wrappers open, the handler runs.
 *
 * What is refused becomes a dead letter at once; what fails otherwise is tried again, later each time. Draining takes
 * no further job, waits for those in progress, and at the deadline aborts their signals and gives them back.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function worker<Payload extends Schema, Access extends AccessRule, Services = unknown>(
  job: JobDefinition<Payload, Access>,
  options: WorkerOptions<Services>,
  handler: JobHandler<SchemaOutput<Payload>, Services, PrincipalFor<Access>>,
): Transport {
  const path = `worker ${job.name}`
  const { queue: _queue, ...rest } = options
  const resolved = resolveWorkerOptions(rest, path)
  const openQueue = resolveWorkerQueue(options, path)
  if (typeof handler !== 'function') throw new TypeError(`${path}: needs a handler as its third argument.`)
  return {
    name: `worker:${job.name}`,
    operations: [job.operation],
    start(host) {
      // The process hands over what its setup returned; the author of the worker says what that is.
      const services = host.services as Services
      return startWorker({
        job,
        host,
        ...openQueue(services),
        options: resolved,
        // The schema has made the payload, and the pipeline has let the principal pass the access rule.
        handle: (call) =>
          handler({ ...call, services } as CallOfJob<SchemaOutput<Payload>, Services, PrincipalFor<Access>>),
      })
    },
  }
}
