import type { ErrorKind } from '@quintet/core'
import { RlsError, type RlsErrorCode } from '../errors.ts'

interface Mapping {
  readonly code: RlsErrorCode
  readonly kind: ErrorKind
  readonly message: string
  /** Milliseconds after which a retry makes sense. */
  readonly retryAfter?: number
}

const conflict: Mapping = {
  code: 'ERR_RLS_CONFLICT',
  kind: 'conflict',
  message: 'The change conflicts with what is stored.',
}
const retryable: Mapping = {
  code: 'ERR_RLS_CONFLICT',
  kind: 'conflict',
  message: 'The change ran into another one at the same time. Try again.',
  retryAfter: 50,
}
const forbidden: Mapping = {
  code: 'ERR_RLS_FORBIDDEN',
  kind: 'forbidden',
  message: 'The database does not allow this.',
}
const invalidValue: Mapping = {
  code: 'ERR_RLS_INVALID_VALUE',
  kind: 'invalid-input',
  message: 'A value does not fit what is stored.',
}
const timeout: Mapping = { code: 'ERR_RLS_TIMEOUT', kind: 'timeout', message: 'The database took too long.' }
const unavailable: Mapping = {
  code: 'ERR_RLS_DATABASE_UNAVAILABLE',
  kind: 'unavailable',
  message: 'The database cannot be reached now.',
  retryAfter: 1_000,
}
const internal: Mapping = {
  code: 'ERR_RLS_DATABASE_ERROR',
  kind: 'internal',
  message: 'The database could not carry out a statement.',
}

const byState: Readonly<Record<string, Mapping>> = {
  '23001': conflict,
  '23503': conflict,
  '23505': conflict,
  '23P01': conflict,
  '23502': invalidValue,
  '23514': invalidValue,
  '25006': unavailable,
  '40001': retryable,
  '40P01': retryable,
  '42501': forbidden,
  '55P03': timeout,
  '57014': timeout,
  '25P03': timeout,
  '25P04': timeout,
  '57P05': timeout,
}

/** Mappings of whole classes, by the first two characters of the SQLSTATE. */
const byClass: Readonly<Record<string, Mapping>> = {
  '08': unavailable,
  '22': invalidValue,
  '28': unavailable,
  '40': retryable,
  '53': unavailable,
  '57': unavailable,
  '58': unavailable,
}

const networkCodes: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])

/**
 * Turns an error of PostgreSQL or of the connection to it into one of ours, with the original as
 * `cause`. The message and details carry neither SQL nor values. Undefined for any other error.
 *
 * @see PostgreSQL, Appendix A, error codes
 */
export function mapPostgresError(thrown: unknown): RlsError | undefined {
  const mapping = mappingOf(thrown)
  if (mapping === undefined) return undefined
  const { code, kind, message, retryAfter } = mapping
  return new RlsError(message, {
    code,
    kind,
    cause: thrown,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  })
}

/** A host with several addresses, each of which was tried, gives an `AggregateError` with the code of the first. */
function mappingOf(thrown: unknown): Mapping | undefined {
  if (!(thrown instanceof Error)) return undefined
  const { code, severity, syscall } = thrown as { code?: unknown; severity?: unknown; syscall?: unknown }
  if (typeof code === 'string' && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code)) {
    if (hasOtherColumns(thrown)) return retryable
    return byState[code] ?? byClass[code.slice(0, 2)] ?? internal
  }
  const ofNetwork = syscall !== undefined || thrown instanceof AggregateError
  if (typeof code === 'string' && networkCodes.has(code) && ofNetwork) return unavailable
  if (thrown.message === 'Query read timeout') return timeout
  return connectionMessages.test(thrown.message) ? unavailable : undefined
}

/** Whether a prepared statement was refused because its rows have other columns now. */
export function hasOtherColumns(error: Error): boolean {
  const { code, routine } = error as { code?: unknown; routine?: unknown }
  return code === '0A000' && routine === 'RevalidateCachedQuery'
}

/** Errors that pg itself makes when a connection is lost or none is to be had; they carry no code. */
const connectionMessages =
  /^(?:Connection terminated|Client has encountered a connection error|Client was closed and is not queryable|timeout exceeded when trying to connect|timeout expired$)/
