import { QueueError } from '../errors.ts'
import { toEvent, type Claims, type EventRow } from './claim-events.ts'
import type { ResolvedRelay } from './relay-options.ts'

/** What came of the events of one key. */
export interface Outcome {
  readonly delivered: readonly string[]
  readonly failed: { readonly row: EventRow; readonly reason: unknown } | undefined
  /** Those behind the failed one, and those that there was no time for. */
  readonly untouched: readonly string[]
}

/** Delivers the events of one key in order, until one fails, the claim runs out or the process stops. */
export async function deliverInOrder(
  rows: readonly EventRow[],
  claims: Claims,
  options: ResolvedRelay,
  stopping: AbortSignal,
): Promise<Outcome> {
  const delivered: string[] = []
  const rest = (): string[] => rows.slice(delivered.length).map(({ id }) => id)
  for (const row of rows) {
    if (stopping.aborted || !claims.held()) return { delivered, failed: undefined, untouched: rest() }
    try {
      await deliverInTime(row, options, stopping)
      delivered.push(row.id)
    } catch (reason) {
      if (stopping.aborted && reason === stopping.reason)
        return { delivered, failed: undefined, untouched: rest() }
      return { delivered, failed: { row, reason }, untouched: rest().slice(1) }
    }
  }
  return { delivered, failed: undefined, untouched: [] }
}

/** Rejects at the time limit and when the process stops, also when the delivery ignores its signal. */
async function deliverInTime(
  row: EventRow,
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
  stopping.addEventListener('abort', onStop, { once: true })
  try {
    await Promise.race([deliver(toEvent(row), { signal: ending.signal }), ended.promise])
  } finally {
    clearTimeout(timer)
    stopping.removeEventListener('abort', onStop)
  }
}
