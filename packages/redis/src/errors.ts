import { type ErrorKind, QuintetError, type QuintetErrorOptions } from '@quintet/core'
import { withoutArguments } from './without-arguments.ts'

/** The codes of the errors that this package throws. */
export type RedisErrorCode =
  | 'ERR_REDIS_CLOSED'
  | 'ERR_REDIS_LOAD_TIMEOUT'
  | 'ERR_REDIS_LOCK_HELD'
  | 'ERR_REDIS_LOCK_LOST'
  | 'ERR_REDIS_REFUSED'
  | 'ERR_REDIS_UNAVAILABLE'
  | 'ERR_REDIS_UNSUITABLE'

const kinds: Readonly<Record<RedisErrorCode, ErrorKind>> = {
  ERR_REDIS_CLOSED: 'closed',
  ERR_REDIS_LOAD_TIMEOUT: 'timeout',
  ERR_REDIS_LOCK_HELD: 'conflict',
  ERR_REDIS_LOCK_LOST: 'conflict',
  ERR_REDIS_REFUSED: 'internal',
  ERR_REDIS_UNAVAILABLE: 'unavailable',
  ERR_REDIS_UNSUITABLE: 'internal',
}

/** What this package throws. The kind follows from the code. */
export class RedisError extends QuintetError<RedisErrorCode> {
  constructor(
    code: RedisErrorCode,
    message: string,
    options: Pick<QuintetErrorOptions<RedisErrorCode>, 'cause' | 'details' | 'retryAfter'> = {},
  ) {
    super(message, { code, kind: kinds[code], ...options })
  }
}

/** How long a caller should wait after `ERR_REDIS_UNAVAILABLE`, in milliseconds. */
const retryAfter = 1_000

/** Replies with which a server says that it cannot serve now: a retry later may succeed. */
const unableReplies: ReadonlySet<string> = new Set([
  'BUSY',
  'CLUSTERDOWN',
  'LOADING',
  'MASTERDOWN',
  'MISCONF',
  'NOREPLICAS',
  'OOM',
  'READONLY',
  'TRYAGAIN',
  'UNBLOCKED',
])

const refusedReplies: ReadonlySet<string> = new Set(['NOAUTH', 'NOPERM', 'WRONGPASS'])

/** Messages with which ioredis says that a command had no working connection. It has no codes for them. */
const connectionFailure =
  /Stream isn't writeable|Cluster isn't ready|Command timed out|max retries per request|aborted due to connection close|Failed to refresh slots cache|startup nodes is available|All sentinels are unreachable|Socket timeout|Cluster is (?:disconnect|ended)|Too many Cluster redirections|^connect E|^read E|^write E/

/**
 * Turns what ioredis rejects a command with into an error that callers can act on: the server cannot
 * serve now (`ERR_REDIS_UNAVAILABLE`), refuses us (`ERR_REDIS_REFUSED`), or the client was closed
 * (`ERR_REDIS_CLOSED`). Other replies, such as `WRONGTYPE`, pass through. The arguments of the command,
 * which ioredis hangs on its errors, are removed: they may be secrets.
 */
export function toRedisError(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof RedisError) return thrown
  removeArguments(thrown)
  if (thrown.name === 'ReplyError') return fromReply(thrown)
  if (thrown.message === 'Connection is closed.') {
    // The same words: libraries on top of ioredis, such as BullMQ, look for them.
    return new RedisError('ERR_REDIS_CLOSED', 'Connection is closed.', { cause: thrown })
  }
  if (connectionFailure.test(thrown.message) || thrown.name === 'MaxRetriesPerRequestError') {
    return unavailable(thrown)
  }
  return thrown
}

/** The error for a server that cannot be reached. */
export function unavailable(cause: Error): RedisError {
  return new RedisError('ERR_REDIS_UNAVAILABLE', 'Redis cannot be reached now.', { cause, retryAfter })
}

function fromReply(reply: Error): unknown {
  const word = /^[A-Z]+/.exec(reply.message)?.[0] ?? ''
  if (unableReplies.has(word)) {
    return new RedisError('ERR_REDIS_UNAVAILABLE', `Redis cannot serve now (${word}).`, {
      cause: reply,
      retryAfter,
    })
  }
  if (refusedReplies.has(word)) {
    return new RedisError(
      'ERR_REDIS_REFUSED',
      word === 'NOPERM'
        ? // The word stays: ioredis looks for it when a user without INFO connects.
          'Redis does not permit this command to the user (NOPERM). Extend its ACL.'
        : 'Redis refuses the user name or password. Check the connection options.',
      { cause: reply },
    )
  }
  return reply
}

function removeArguments(error: Error): void {
  const { command, previousErrors } = error as { command?: SentCommand; previousErrors?: unknown }
  if (command !== undefined)
    Object.defineProperty(error, 'command', { value: { name: command.name }, enumerable: true })
  const { message } = error
  const args = Array.isArray(command?.args) ? command.args.map(String) : []
  const cut = error.name === 'ReplyError' ? withoutArguments(message, args) : message
  if (cut !== message)
    for (const [member, value] of [
      ['message', cut],
      ['stack', error.stack?.replace(message, () => cut)],
    ] as const)
      Object.defineProperty(error, member, { value, configurable: true, writable: true })
  // EXECABORT tells what was wrong with the commands of the transaction.
  if (Array.isArray(previousErrors))
    for (const each of previousErrors as readonly unknown[]) if (each instanceof Error) removeArguments(each)
}

/** What ioredis hangs on an error. */
interface SentCommand {
  readonly name?: unknown
  readonly args?: unknown
}

/** True when Redis could not serve: not reachable, frozen, loading, out of memory, failing over. */
export function isRedisUnavailable(value: unknown): boolean {
  const error = toRedisError(value)
  return (
    error instanceof RedisError &&
    (error.code === 'ERR_REDIS_UNAVAILABLE' || error.code === 'ERR_REDIS_CLOSED')
  )
}

/** True when the server refuses the user, the password or the command. */
export function isRedisRefusal(value: unknown): boolean {
  const error = toRedisError(value)
  return error instanceof RedisError && error.code === 'ERR_REDIS_REFUSED'
}

/** The reason in one line for logs and health: message and code of the innermost cause, never arguments. */
export function describeFailure(thrown: unknown): string {
  const error = thrown instanceof RedisError && thrown.cause !== undefined ? thrown.cause : thrown
  if (!(error instanceof Error)) return 'unknown failure'
  if (error.message !== '') return error.message
  const { code } = error as { code?: unknown }
  if (error instanceof AggregateError) return error.errors.map(describeFailure).join('; ')
  return typeof code === 'string' ? code : error.name
}
