import { type ErrorKind, QuintetError } from '@quintet/core'
import { isErrorKind, toQuintetError } from '@quintet/core/kit'

/** An error as it goes over the wire: RFC 9457, with the members that a typed client needs. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly kind: ErrorKind
  readonly requestId?: string
  readonly details?: Readonly<Record<string, unknown>>
  /** Milliseconds to wait before the next try. */
  readonly retryAfter?: number
}

const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  'invalid-input': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'rate-limited': 429,
  'too-large': 413,
  timeout: 504,
  canceled: 499,
  closed: 503,
  unavailable: 503,
  unsupported: 501,
  internal: 500,
}

/** Where a kind is too coarse for HTTP. */
const statusOfCode: ReadonlyMap<string, number> = new Map([
  ['ERR_SERVER_HEADERS_TOO_LARGE', 431],
  ['ERR_SERVER_MEDIA_TYPE_UNSUPPORTED', 415],
  ['ERR_SERVER_METHOD_NOT_ALLOWED', 405],
  ['ERR_SERVER_PROTOCOL_UNSUPPORTED', 400],
  ['ERR_SERVER_REQUEST_TIMEOUT', 408],
])

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  499: 'Client Closed Request',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** The one place where what went wrong becomes an HTTP status. */
export function statusOf(error: QuintetError): number {
  return statusOfCode.get(error.code) ?? statusOfKind[error.kind]
}

/** How long a caller should wait, in milliseconds, if the error says that trying again may help. */
function retryAfterOf(error: QuintetError): number | undefined {
  if (error.retryAfter !== undefined) return error.retryAfter
  return error.kind === 'rate-limited' || error.kind === 'unavailable' || error.kind === 'closed'
    ? 1_000
    : undefined
}

/**
 * Describes anything that was thrown to the caller. Of an internal error it says only that there was one.
 *
 * @see RFC 9457 (problem details)
 */
export function toProblem(thrown: unknown, requestId?: string): Problem {
  const error = toQuintetError(thrown)
  const status = statusOf(error)
  const internal = error.kind === 'internal'
  const retryAfter = retryAfterOf(error)
  return {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    detail: internal ? 'Something failed on our side.' : error.message,
    code: internal ? 'ERR_CORE_INTERNAL' : error.code,
    kind: error.kind,
    ...(requestId === undefined ? {} : { requestId }),
    ...(internal || error.details === undefined ? {} : { details: error.details }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  }
}

/** The error that a problem document describes, as its thrower made it. */
export function fromProblem(value: unknown, status?: number): QuintetError {
  const problem = typeof value === 'object' && value !== null ? (value as Partial<Problem>) : {}
  const kind = isErrorKind(problem.kind) ? problem.kind : kindOfStatus(status ?? problem.status)
  const details =
    typeof problem.details === 'object' && problem.details !== null ? problem.details : undefined
  return new QuintetError(
    typeof problem.detail === 'string'
      ? problem.detail
      : `The server answered with status ${String(status ?? 'unknown')}.`,
    {
      code: typeof problem.code === 'string' ? problem.code : 'ERR_SERVER_RESPONSE_INVALID',
      kind,
      ...(details === undefined ? {} : { details }),
      ...(typeof problem.retryAfter === 'number' ? { retryAfter: problem.retryAfter } : {}),
    },
  )
}

function kindOfStatus(status: number | undefined): ErrorKind {
  if (status === undefined) return 'internal'
  if (status === 408) return 'timeout'
  if (status === 502) return 'unavailable'
  const known = (Object.keys(statusOfKind) as ErrorKind[]).find((kind) => statusOfKind[kind] === status)
  if (status === 503) return 'unavailable'
  return known ?? (status >= 400 && status < 500 ? 'invalid-input' : 'internal')
}
