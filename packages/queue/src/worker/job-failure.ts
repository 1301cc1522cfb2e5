import { isQuintetError, type QuintetError } from '@quintet/core'
import { UnrecoverableError } from 'bullmq'
import { describeFailure, isPermanent } from '../errors.ts'

/** An error as BullMQ keeps it: with the code, and with what only operators may know. */
class JobFailure extends Error {
  readonly retryAfter: number

  constructor(failure: QuintetError, message: string) {
    super(message)
    this.name = 'JobFailure'
    this.retryAfter = retryAfterOf(failure)
  }
}

/** The error that makes BullMQ try again, or give the job up. */
export function toBullError(failure: QuintetError, isLastAttempt = false, earlier?: string): Error {
  const after = earlier === undefined ? '' : ` Before: ${earlier}`
  const message = describe(failure) + after
  return isLastAttempt || isPermanent(failure)
    ? new UnrecoverableError(message)
    : new JobFailure(failure, message)
}

/** What an error asks for is no reason to wait for longer than this, in milliseconds. */
const longestRetryAfter = 86_400_000

/** How long to wait at least before the next attempt, in milliseconds. */
export function retryAfterOf(error: Error | undefined): number {
  const { retryAfter } = (error ?? {}) as { readonly retryAfter?: unknown }
  return typeof retryAfter === 'number' && retryAfter > 0 ? Math.min(retryAfter, longestRetryAfter) : 0
}

function describe(failure: QuintetError): string {
  const { cause } = failure
  const told = failure.kind === 'internal' && cause !== undefined && !isQuintetError(cause) ? cause : failure
  return `${failure.code}: ${describeFailure(told).text}`
}
