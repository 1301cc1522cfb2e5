import { isErrorKind, QuintetError, toQuintetError, type ErrorKind } from '../errors.ts'

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

/** Statuses of a package by the code of its errors, where their kind is too coarse for HTTP. */
export type Statuses = Readonly<Record<string, number>>

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

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  426: 'Upgrade Required',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  499: 'Client Closed Request',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
}

/** The reason phrase of an error status (RFC 9110, section 15). */
export function titleOf(status: number): string {
  return titles[status] ?? (status < 500 ? 'Bad Request' : 'Internal Server Error')
}

/** The HTTP status of an error: that of its kind, unless a package has a finer one for its code. */
export function statusOf(error: QuintetError, statuses: Statuses = {}): number {
  return (Object.hasOwn(statuses, error.code) ? statuses[error.code] : undefined) ?? statusOfKind[error.kind]
}

export interface ToProblemOptions {
  readonly requestId?: string | undefined
  readonly statuses?: Statuses
}

/**
 * Describes anything that was thrown to the caller. Of an internal error it says only that there was one.
 *
 * @see RFC 9457 (problem details)
 */
export function toProblem(thrown: unknown, { requestId, statuses }: ToProblemOptions = {}): Problem {
  const error = toQuintetError(thrown)
  const status = statusOf(error, statuses)
  const internal = error.kind === 'internal'
  const retryAfter = retryAfterOf(error)
  return {
    type: 'about:blank',
    title: titleOf(status),
    status,
    detail: internal ? 'Something failed on our side.' : error.message,
    code: internal ? 'ERR_CORE_INTERNAL' : error.code,
    kind: error.kind,
    ...(requestId === undefined ? {} : { requestId }),
    ...(internal || error.details === undefined ? {} : { details: error.details }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  }
}

/** The headers that a problem has beside its document: `retry-after` in whole seconds. */
export function problemHeaders({ retryAfter }: Problem): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(retryAfter === undefined ? {} : { 'retry-after': retryAfterSeconds(retryAfter) }),
  }
}

/** A time in milliseconds as the value of `Retry-After`: whole seconds, at least one (RFC 9110, section 10.2.3). */
export function retryAfterSeconds(retryAfter: number): string {
  return String(Math.max(1, Math.ceil(retryAfter / 1_000)))
}

/** How long a caller should wait, in milliseconds, if the error says that trying again may help. */
function retryAfterOf(error: QuintetError): number | undefined {
  if (error.retryAfter !== undefined) return error.retryAfter
  const mayPass = error.kind === 'rate-limited' || error.kind === 'unavailable' || error.kind === 'closed'
  return mayPass ? 1_000 : undefined
}

export interface FromProblemOptions {
  /** The status of the answer, for a document that says nothing of use. */
  readonly status?: number | undefined
  /** The code of the error for an answer that is no problem document of ours. */
  readonly code: string
}

/** The error that a problem document describes, as its thrower made it. */
export function fromProblem(value: unknown, { status, code }: FromProblemOptions): QuintetError {
  const problem = typeof value === 'object' && value !== null ? (value as Partial<Problem>) : {}
  const { details } = problem
  return new QuintetError(
    typeof problem.detail === 'string'
      ? problem.detail
      : `The server answered with status ${String(status ?? 'unknown')}.`,
    {
      code: typeof problem.code === 'string' ? problem.code : code,
      kind: isErrorKind(problem.kind) ? problem.kind : kindOfStatus(status ?? problem.status),
      ...(typeof details === 'object' && details !== null ? { details } : {}),
      ...(typeof problem.retryAfter === 'number' ? { retryAfter: problem.retryAfter } : {}),
    },
  )
}

function kindOfStatus(status: number | undefined): ErrorKind {
  if (typeof status !== 'number') return 'internal'
  if (status === 408) return 'timeout'
  if (status === 502 || status === 503) return 'unavailable'
  const known = (Object.keys(statusOfKind) as ErrorKind[]).find((kind) => statusOfKind[kind] === status)
  return known ?? (status >= 400 && status < 500 ? 'invalid-input' : 'internal')
}
