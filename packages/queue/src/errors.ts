import { isQuintetError, QuintetError, type ErrorKind, type QuintetErrorOptions } from '@quintet/core'

/** The codes of the errors that this package throws. */
export type QueueErrorCode =
  | 'ERR_QUEUE_CLOSED'
  | 'ERR_QUEUE_DELIVERY_TIMEOUT'
  | 'ERR_QUEUE_NO_DEAD_LETTER'
  | 'ERR_QUEUE_BAD_ENVELOPE'
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

/**
 * Whether a failure says nothing about the work but that a server cannot serve now: Redis or PostgreSQL is away,
 * starting, read-only, full or refuses the login. Such failures use up no attempts.
 */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (isQuintetError(error)) return error.kind === 'unavailable' || error.kind === 'closed'
  const { code } = error as { code?: unknown }
  return (
    (typeof code === 'string' && (connectionCodes.has(code) || postgresOutage.test(code))) ||
    error.name === 'MaxRetriesPerRequestError' ||
    clientOutage.test(error.message) ||
    redisOutage.test(error.message) ||
    isOutage(error.cause)
  )
}

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
