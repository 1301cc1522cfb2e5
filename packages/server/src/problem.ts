import {
  fromProblem as readProblem,
  toProblem as describe,
  type Problem,
  type QuintetError,
} from '@quintet/core/client'

/** The statuses of this package's errors whose kind is too coarse for HTTP, by their code. */
export const serverStatuses: Readonly<Record<string, number>> = Object.freeze({
  ERR_SERVER_EXPECTATION_FAILED: 417,
  ERR_SERVER_HEADERS_TOO_LARGE: 431,
  ERR_SERVER_MEDIA_TYPE_UNSUPPORTED: 415,
  ERR_SERVER_METHOD_NOT_ALLOWED: 405,
  ERR_SERVER_PROTOCOL_UNSUPPORTED: 400,
  ERR_SERVER_REQUEST_TIMEOUT: 408,
})

/** Describes anything that was thrown to the caller (RFC 9457). */
export function toProblem(thrown: unknown, requestId?: string): Problem {
  return describe(thrown, { requestId, statuses: serverStatuses })
}

/** The error that a problem document describes, as its thrower made it. */
export function fromProblem(value: unknown, status?: number): QuintetError {
  return readProblem(value, { status, code: 'ERR_SERVER_RESPONSE_INVALID' })
}
