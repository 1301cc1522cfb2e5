import { describeFailure, QueueError, type Failure } from '../errors.ts'
import type { Claim, EventRow } from './claim-events.ts'
import { toEvent } from './delivered-event.ts'
import type { ResolvedRelay } from './relay-options.ts'

/** What came of the events of one key. */
export interface Outcome {
  readonly claim: Claim
  readonly delivered: readonly string[]
  readonly failed: FailedEvent | undefined
  /** Those behind the failed one, and those that there was no time for. */
  readonly untouched: readonly string[]
}

export interface FailedEvent extends Failure {
  readonly row: EventRow
}

/** Delivers the events of one key in order, until one fails, the claim is lost or the process stops. */
export async function deliverInOrder(
  claim: Claim,
  options: ResolvedRelay,
  stopping: AbortSignal,
): Promise<Outcome> {
  const { rows } = claim
  const delivered: string[] = []
  const rest = (): string[] => rows.slice(delivered.length).map(({ id }) => id)
  for (const row of rows) {
    if (stopping.aborted || !claim.isHeld()) break
    try {
      await deliverInTime(row, claim.lost, options, stopping)
      delivered.push(row.id)
    } catch (reason) {
      // Another relay may have delivered it since.
      if (claim.lost.aborted || (stopping.aborted && reason === stopping.reason)) break
      return { claim, delivered, failed: { row, ...describeFailure(reason) }, untouched: rest().slice(1) }
    }
  }
  return { claim, delivered, failed: undefined, untouched: rest() }
}

/**
 * Rejects at the time limit and when the process stops, also when the delivery ignores its signal. When the claim is
 * lost its signal aborts, and it is waited for all the same, so that the key is not delivered twice at once.
 */
async function deliverInTime(
  row: EventRow,
  lost: AbortSignal,
  { deliver, timeout }: ResolvedRelay,
  stopping: AbortSignal,
): Promise<void> {
  const ending = new AbortController()
  const ended = Promise.withResolvers<never>()
  const end = (reason: unknown): void => {
    ending.abort(reason)
    ended.reject(reason)
  }
  const timer = setTimeout(() => {
    const message = `The delivery of the event ${row.id} took longer than ${timeout} ms.`
    end(new QueueError('ERR_QUEUE_DELIVERY_TIMEOUT', message))
  }, timeout)
  const onStop = (): void => end(stopping.reason)
  const onLost = (): void => ending.abort(lost.reason)
  stopping.addEventListener('abort', onStop, { once: true })
  lost.addEventListener('abort', onLost, { once: true })
  try {
    await Promise.race([deliver(toEvent(row), { signal: ending.signal }), ended.promise])
  } finally {
    clearTimeout(timer)
    stopping.removeEventListener('abort', onStop)
    lost.removeEventListener('abort', onLost)
  }
}
