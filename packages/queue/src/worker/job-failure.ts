import { isQuintetError, type QuintetError } from '@quintet/core'
import { UnrecoverableError } from 'bullmq'
import { isPermanent } from '../errors.ts'

/** An error as BullMQ keeps it: with the code, and with what only operators may know. */
class JobFailure extends Error {
  readonly retryAfter: number | undefined

  constructor(failure: QuintetError) {
    super(describeFailure(failure))
    this.name = 'JobFailure'
    this.retryAfter = failure.retryAfter
  }
}

/** The error that makes BullMQ try again, or give the job up. */
export function toBullError(failure: QuintetError, isLastAttempt = false): Error {
  return isLastAttempt || isPermanent(failure)
    ? new UnrecoverableError(describeFailure(failure))
    : new JobFailure(failure)
}

export function retryAfterOf(error: Error | undefined): number {
  return error instanceof JobFailure ? (error.retryAfter ?? 0) : 0
}

function describeFailure(failure: QuintetError): string {
  const { cause } = failure
  const reason =
    failure.kind === 'internal' && cause instanceof Error && !isQuintetError(cause)
      ? cause.message
      : failure.message
  return `${failure.code}: ${reason}`
}
