/**
 * What went wrong, in terms that no transport owns. The set is closed: the server maps each kind to
 * one status, and a client can switch over all of them.
 */
export type ErrorKind =
  | 'invalid-input'
  | 'unauthenticated'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'rate-limited'
  | 'too-large'
  | 'timeout'
  | 'canceled'
  | 'closed'
  | 'unavailable'
  | 'unsupported'
  | 'internal'

const errorKinds: ReadonlySet<string> = new Set<ErrorKind>([
  'invalid-input',
  'unauthenticated',
  'forbidden',
  'not-found',
  'conflict',
  'rate-limited',
  'too-large',
  'timeout',
  'canceled',
  'closed',
  'unavailable',
  'unsupported',
  'internal',
])

const brand = Symbol.for('quintet.error')

export interface QuintetErrorOptions<Code extends string> {
  /** Stable and never reused: `ERR_<PACKAGE>_<REASON>`. */
  readonly code: Code
  readonly kind: ErrorKind
  /** Facts a caller may see and act on. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>
  /** How long the caller should wait before it tries again, in milliseconds. */
  readonly retryAfter?: number
  readonly cause?: unknown
}

/**
 * The base of every error that Quintet packages throw. It knows no HTTP.
 *
 * The message is written for the caller and is sent to it, except for kind `internal`; what only
 * operators may see belongs into `cause`.
 */
export class QuintetError<Code extends string = string> extends Error {
  readonly code: Code
  readonly kind: ErrorKind
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly retryAfter: number | undefined

  constructor(message: string, options: QuintetErrorOptions<Code>) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = options.code
    this.kind = options.kind
    this.details = options.details
    this.retryAfter = options.retryAfter
    Object.defineProperty(this, brand, { value: true })
  }
}

/** Recognises a {@link QuintetError}, also one made by another installed copy of this package. */
export function isQuintetError(value: unknown): value is QuintetError {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true
}

export function isErrorKind(value: unknown): value is ErrorKind {
  return typeof value === 'string' && errorKinds.has(value)
}

/** The codes that this package throws itself. */
export type CoreErrorCode =
  | 'ERR_CORE_CANCELED'
  | 'ERR_CORE_CONFIG_INVALID'
  | 'ERR_CORE_DEADLINE_EXCEEDED'
  | 'ERR_CORE_FORBIDDEN'
  | 'ERR_CORE_INTERNAL'
  | 'ERR_CORE_INVALID_INPUT'
  | 'ERR_CORE_NOT_FOUND'
  | 'ERR_CORE_OVERLOADED'
  | 'ERR_CORE_RATE_LIMITED'
  | 'ERR_CORE_SETTING_INVALID'
  | 'ERR_CORE_SETTINGS_CONFLICT'
  | 'ERR_CORE_START_FAILED'
  | 'ERR_CORE_STOPPING'
  | 'ERR_CORE_STOP_FAILED'
  | 'ERR_CORE_UNAUTHENTICATED'
  | 'ERR_CORE_UNAVAILABLE'

/**
 * Turns anything that was thrown into a {@link QuintetError}: ours as they are, an abort or a timeout
 * as such, and the rest as `ERR_CORE_INTERNAL` with the original as `cause`. One of ours that cannot be written down for
 * its caller, e.g. with a BigInt among its details, belongs to the rest.
 */
export function toQuintetError(thrown: unknown): QuintetError {
  if (isQuintetError(thrown)) {
    const fault = findFault(thrown)
    return fault === undefined ? thrown : internalError(fault)
  }
  const name = thrown instanceof Error ? thrown.name : ''
  if (name === 'AbortError') {
    return new QuintetError('The call was canceled.', {
      code: 'ERR_CORE_CANCELED',
      kind: 'canceled',
      cause: thrown,
    })
  }
  if (name === 'TimeoutError') {
    return new QuintetError('The call took longer than its deadline.', {
      code: 'ERR_CORE_DEADLINE_EXCEEDED',
      kind: 'timeout',
      cause: thrown,
    })
  }
  return internalError(thrown)
}

function internalError(cause: unknown): QuintetError {
  return new QuintetError('Something failed on our side.', {
    code: 'ERR_CORE_INTERNAL',
    kind: 'internal',
    cause,
  })
}

/** Why an error cannot be written as JSON for its caller; undefined when it can. */
function findFault(error: QuintetError): Error | undefined {
  const { code, kind, details, retryAfter } = error
  let fault: string | undefined
  if (!isErrorKind(kind)) fault = `Its kind ${String(kind)} is not known.`
  else if (retryAfter !== undefined && !(retryAfter >= 0 && retryAfter < Number.POSITIVE_INFINITY))
    fault = `Its retryAfter ${String(retryAfter)} is no time.`
  else if (details !== undefined) {
    try {
      JSON.stringify(details)
    } catch (thrown) {
      fault = `Its details cannot be JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`
    }
  }
  if (fault === undefined) return undefined
  return new TypeError(`The error ${String(code)} cannot be told to its caller. ${fault}`, { cause: error })
}
