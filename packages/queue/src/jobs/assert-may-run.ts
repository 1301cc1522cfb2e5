import type { Principal } from '@quintet/core'
import { decideAccess } from '@quintet/core/kit'
import { QueueError } from '../errors.ts'
import type { JobDefinition } from './define-job.ts'

/** @throws QueueError `ERR_QUEUE_FORBIDDEN` when the access rule of the job refuses the principal. */
export function assertMayRun(job: JobDefinition, principal: Principal): void {
  if (decideAccess(job.operation.access, principal) === 'granted') return
  const hint =
    principal.kind === 'user' ? '' : ` Name a user as principal, or declare the job with access: 'system'.`
  throw new QueueError(
    'ERR_QUEUE_FORBIDDEN',
    `The job ${job.name} may not run for this ${principal.kind} principal.${hint}`,
  )
}
