import { type ErrorKind, QuintetError, type QuintetErrorOptions } from '@quintet/core'

/** The codes of the errors that this package throws. */
export type QueueErrorCode =
  | 'ERR_QUEUE_CLOSED'
  | 'ERR_QUEUE_NO_DEAD_LETTER'
  | 'ERR_QUEUE_BAD_ENVELOPE'
  | 'ERR_QUEUE_FORBIDDEN'
  | 'ERR_QUEUE_GIVE_UP'
  | 'ERR_QUEUE_BAD_PAYLOAD'
  | 'ERR_QUEUE_LEASE_LOST'
  | 'ERR_QUEUE_PAYLOAD_TOO_LARGE'
  | 'ERR_QUEUE_UNAVAILABLE'

const kinds: Readonly<Record<QueueErrorCode, ErrorKind>> = {
  ERR_QUEUE_CLOSED: 'closed',
  ERR_QUEUE_NO_DEAD_LETTER: 'not-found',
  ERR_QUEUE_BAD_ENVELOPE: 'unauthenticated',
  ERR_QUEUE_FORBIDDEN: 'forbidden',
  ERR_QUEUE_GIVE_UP: 'unsupported',
  ERR_QUEUE_BAD_PAYLOAD: 'invalid-input',
  ERR_QUEUE_LEASE_LOST: 'conflict',
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

/** Runs commands, and tells a Redis that does not answer from one that refuses. */
export async function unavailableWhenRedisIs<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    if (!isConnectionFailure(error)) throw error
    throw new QueueError('ERR_QUEUE_UNAVAILABLE', 'The queue does not answer now. Try again shortly.', {
      cause: error,
      retryAfter: 1_000,
    })
  }
}

const connectionCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
])

function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof QuintetError) return error.kind === 'unavailable' || error.code === 'ERR_REDIS_CLOSED'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string' && connectionCodes.has(code)) return true
  return (
    error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|Command timed out|isn't writeable/.test(error.message)
  )
}
