import { isQuintetError } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import type { WireError } from './wire-error.ts'

/** Only what the caller may know: the message of an internal error stays here. */
export function toWireError(thrown: unknown): WireError {
  const error = isQuintetError(thrown) ? thrown : toQuintetError(thrown)
  return {
    code: error.code,
    kind: error.kind,
    message: error.kind === 'internal' ? 'Something failed on our side.' : error.message,
    ...(error.details === undefined || error.kind === 'internal' ? {} : { details: error.details }),
    ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  }
}
