import type { Logger, PrincipalFor, SchemaOutput } from '@quintet/core'
import type { JobDefinition } from '../jobs/define-job.ts'

/** What a job's handler gets. */
export interface JobCall<Job extends JobDefinition, Services = unknown> {
  readonly payload: SchemaOutput<Job['payload']>
  /** Those of the process. */
  readonly services: Services
  /** For whom it runs, as the signed envelope says. */
  readonly principal: PrincipalFor<Job['operation']['access']>
  /** The same for every attempt. */
  readonly jobId: string
  /** Counts from 1; one that ended because its worker fell silent counts as well. */
  readonly attempt: number
  /** The fencing token: grows with each start of the job, so that a store can refuse the writes of an earlier one. */
  readonly fencingToken: number
  /** Aborts at the timeout, when the lock of the job is lost to another worker, and when the process must stop. */
  readonly signal: AbortSignal
  readonly logger: Logger
}

/** Does the work. It may run more than once for one job, so its effect should be the same then; see `withInbox`. */
export type JobHandler<Job extends JobDefinition, Services = unknown> = (
  call: JobCall<Job, Services>,
) => Promise<unknown> | unknown
