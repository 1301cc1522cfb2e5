import type { Logger } from '@quintet/core'
import type { SettledExchange } from '../options/settled-exchange.ts'

/** What became of a request, and when it began on the monotonic clock. */
export interface Outcome extends Omit<SettledExchange, 'durationMs'> {
  readonly startedAt: number
}

/** Tells `onSettled` of each request that is over. Its failure, also a later one, is logged and ends nothing. */
export function createSettledReport(
  onSettled: (exchange: SettledExchange) => unknown,
  logger: Logger,
): (outcome: Outcome) => void {
  return ({ requestId, method, route, upstream, status, outcome, attempts, startedAt }) => {
    const failed = (error: unknown): void => logFailure(logger, error, { requestId }, 'onSettled has failed')
    try {
      const durationMs = performance.now() - startedAt
      const told = onSettled({ requestId, method, route, upstream, status, outcome, attempts, durationMs })
      if (told !== undefined) Promise.resolve(told).catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

/** Logs what has no other place to go. A log that fails itself ends no process. */
export function logFailure(logger: Logger, error: unknown, fields: object, message: string): void {
  try {
    logger.error({ ...fields, err: error }, message)
  } catch {
    // There is nowhere left to tell it.
  }
}
