import type { SessionEnd } from '../access/auth-manager.ts'
import { QuintetError } from '../errors.ts'

/** The session of the caller ended while the call was in progress. */
export function sessionEnded(end: SessionEnd): QuintetError {
  return new QuintetError('The session ended while the call was in progress.', {
    code: 'ERR_CORE_UNAUTHENTICATED',
    kind: 'unauthenticated',
    details: { reason: end },
  })
}
