import type { TransportHost } from '@quintet/core/kit'
import type { Queue } from '../jobs/create-queue.ts'
import type { JobDefinition } from '../jobs/define-job.ts'
import type { JobCall } from './job-call.ts'
import type { ResolvedWorkerOptions } from './worker-options.ts'

/** What a worker is started with. */
export interface WorkerParts {
  readonly job: JobDefinition
  readonly host: TransportHost
  readonly queue: Queue
  readonly options: ResolvedWorkerOptions
  readonly handle: (call: JobCall<JobDefinition>) => unknown
}
