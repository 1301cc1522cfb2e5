import { QuintetError, type QuintetErrorOptions } from '@quintet/core'

/** The codes of this package. */
export type QueueErrorCode =
  | 'ERR_QUEUE_BAD_ENVELOPE'
  | 'ERR_QUEUE_BAD_PAYLOAD'
  | 'ERR_QUEUE_CLOSED'
  | 'ERR_QUEUE_LEASE_LOST'
  | 'ERR_QUEUE_NO_DEAD_LETTER'
  | 'ERR_QUEUE_UNAVAILABLE'

/** What this package throws. */
export class QueueError extends QuintetError<QueueErrorCode> {
  constructor(message: string, options: QuintetErrorOptions<QueueErrorCode>) {
    super(message, options)
  }
}
