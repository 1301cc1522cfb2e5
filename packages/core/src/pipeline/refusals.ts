import { QuintetError } from '../errors.ts'
import type { PipelineCall } from './pipeline-call.ts'

/** The caller is not known, or known and not allowed. */
export function refused(
  { operation }: PipelineCall,
  decision: 'unauthenticated' | 'forbidden',
): QuintetError {
  if (decision === 'unauthenticated') {
    return new QuintetError(`${operation.name} needs a signed-in caller.`, {
      code: 'ERR_CORE_UNAUTHENTICATED',
      kind: 'unauthenticated',
    })
  }
  return new QuintetError(`You may not use ${operation.name}.`, {
    code: 'ERR_CORE_FORBIDDEN',
    kind: 'forbidden',
  })
}

/** Credentials that no authenticator accepts. */
export function notIdentified(): QuintetError {
  return new QuintetError('The credentials were not accepted.', {
    code: 'ERR_CORE_UNAUTHENTICATED',
    kind: 'unauthenticated',
  })
}

/** Credentials that a surface attested, and that have run out since. */
export function expired(): QuintetError {
  return new QuintetError('The credentials have expired.', {
    code: 'ERR_CORE_UNAUTHENTICATED',
    kind: 'unauthenticated',
    details: { reason: 'expired' },
  })
}

export function overloaded(): QuintetError {
  return new QuintetError('Too many calls are in progress. Try again shortly.', {
    code: 'ERR_CORE_OVERLOADED',
    kind: 'unavailable',
    retryAfter: 1_000,
  })
}

export function deadlineExceeded({ operation }: PipelineCall): QuintetError {
  return new QuintetError(`${operation.name} took longer than its deadline.`, {
    code: 'ERR_CORE_DEADLINE_EXCEEDED',
    kind: 'timeout',
  })
}

export function stopping(): QuintetError {
  return new QuintetError('The process is stopping. Try again shortly.', {
    code: 'ERR_CORE_STOPPING',
    kind: 'unavailable',
    retryAfter: 1_000,
  })
}
