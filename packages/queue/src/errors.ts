import { isQuintetError, QuintetError, type ErrorKind, type QuintetErrorOptions } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'

/** The codes of the errors that this package throws. */
export type QueueErrorCode =
  | 'ERR_QUEUE_CLOSED'
  | 'ERR_QUEUE_DELIVERY_TIMEOUT'
  | 'ERR_QUEUE_NO_DEAD_LETTER'
  | 'ERR_QUEUE_BAD_ENVELOPE'
  | 'ERR_QUEUE_BAD_NAME'
  | 'ERR_QUEUE_FORBIDDEN'
  | 'ERR_QUEUE_GIVE_UP'
  | 'ERR_QUEUE_BAD_PAYLOAD'
  | 'ERR_QUEUE_LEASE_LOST'
  | 'ERR_QUEUE_LOCK_LOST'
  | 'ERR_QUEUE_PAYLOAD_TOO_LARGE'
  | 'ERR_QUEUE_UNAVAILABLE'

const kinds: Readonly<Record<QueueErrorCode, ErrorKind>> = {
  ERR_QUEUE_CLOSED: 'closed',
  ERR_QUEUE_DELIVERY_TIMEOUT: 'timeout',
  ERR_QUEUE_NO_DEAD_LETTER: 'not-found',
  ERR_QUEUE_BAD_ENVELOPE: 'unauthenticated',
  ERR_QUEUE_BAD_NAME: 'invalid-input',
  ERR_QUEUE_FORBIDDEN: 'forbidden',
  ERR_QUEUE_GIVE_UP: 'unsupported',
  ERR_QUEUE_BAD_PAYLOAD: 'invalid-input',
  ERR_QUEUE_LEASE_LOST: 'conflict',
  ERR_QUEUE_LOCK_LOST: 'conflict',
  ERR_QUEUE_PAYLOAD_TOO_LARGE: 'too-large',
  ERR_QUEUE_UNAVAILABLE: 'unavailable',
}

/** What this package throws. The kind follows from the code. */
export class QueueError extends QuintetError<QueueErrorCode> {
  constructor(
    code: QueueErrorCode,
    message: string,
    options: Pick<QuintetErrorOptions<QueueErrorCode>, 'cause' | 'details' | 'retryAfter'> = {},
  ) {
    super(message, { code, kind: kinds[code], ...options })
  }
}

/** An error for a handler to throw when a further attempt cannot succeed: the job goes to the dead letters at once. */
export function giveUp(reason: string, cause?: unknown): QueueError {
  return new QueueError('ERR_QUEUE_GIVE_UP', reason, { cause })
}

/** Kinds of failure that another attempt with the same payload and principal would meet again. */
const permanentKinds: ReadonlySet<ErrorKind> = new Set<ErrorKind>([
  'invalid-input',
  'unauthenticated',
  'forbidden',
  'too-large',
  'unsupported',
])

export function isPermanent(error: QuintetError): boolean {
  return permanentKinds.has(error.kind)
}

/** Runs commands, and tells a Redis that cannot serve now from one that refuses. */
export async function unavailableWhenRedisIs<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof QuintetError || !isOutage(error)) throw error
    throw new QueueError('ERR_QUEUE_UNAVAILABLE', 'The queue does not answer now. Try again shortly.', {
      cause: error,
      retryAfter: 1_000,
    })
  }
}

/** What a failure means, whatever was thrown. */
export interface Failure {
  /** Fit for PostgreSQL, which keeps no NUL in a text and no half of a surrogate pair; 1,000 characters at most. */
  readonly text: string
  readonly isOutage: boolean
  readonly isPermanent: boolean
}

/** Judges anything that was thrown, and throws nothing itself: getters and prototypes of what is thrown may be odd. */
export function describeFailure(thrown: unknown): Failure {
  try {
    return {
      text: fitText(thrown instanceof Error ? thrown.message : thrown),
      isOutage: isOutage(thrown),
      isPermanent: isPermanent(toQuintetError(thrown)),
    }
  } catch {
    return {
      text: 'something was thrown that cannot be written as text',
      isOutage: false,
      isPermanent: false,
    }
  }
}

function fitText(value: unknown): string {
  const text = typeof value === 'string' ? value : String(value)
  return text.slice(0, longestText).replaceAll('\0', '').toWellFormed()
}

const longestText = 1_000

/**
 * Whether a failure says nothing about the work but that a server cannot serve now: Redis or PostgreSQL is away,
 * starting, read-only, full or refuses the login. Such failures use up no attempts.
 */
export function isOutage(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > deepestCause) return false
  if (isQuintetError(error)) return error.kind === 'unavailable' || error.kind === 'closed'
  const { code, message } = error as { code?: unknown; message: unknown }
  return (
    (typeof code === 'string' && (connectionCodes.has(code) || postgresOutage.test(code))) ||
    error.name === 'MaxRetriesPerRequestError' ||
    (typeof message === 'string' && (clientOutage.test(message) || redisOutage.test(message))) ||
    isOutage(error.cause, depth + 1)
  )
}

/** Causes are followed so far: one may be its own cause. */
const deepestCause = 8

const connectionCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])

/** SQLSTATE classes: connection exception, insufficient resources, operator intervention without query_canceled. */
const postgresOutage = /^(?:08|53|57P)/

const clientOutage =
  /Connection is closed|Command timed out|isn't writeable|ClusterAllFailedError|Failed to refresh slots/

/** Replies of a Redis that takes no writes now; within a script, older servers put the code into the text. */
const redisOutage =
  /(?:^|-)(?:READONLY|OOM|NOREPLICAS|MISCONF|LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|BUSY|NOAUTH|WRONGPASS|NOPERM) /
