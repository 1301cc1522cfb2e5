import type { Ecosystem } from '@quintet/core/ecosystem'

type BackoffSettings = Ecosystem['supervision']['backoff']

/** By how much a wait may be longer or shorter, so that processes which fell together do not rise together. */
const jitter = 0.2

/**
 * How long to wait before the next start, in milliseconds.
 *
 * @param failures how many crashes or failed starts there were since the process was last healthy for a whole
 *   window, the present one included. A process that had been ready is restarted at once the first time (0).
 * @param random from 0 to 1.
 */
export function backoffDelay(
  settings: BackoffSettings,
  failures: number,
  wasReady: boolean,
  random: number,
): number {
  const waits = wasReady ? failures - 1 : failures
  if (waits <= 0) return 0
  const factor = settings.type === 'exponential' ? settings.factor ** (waits - 1) : 1
  const wait = Math.min(settings.max, settings.initial * factor)
  return Math.round(Math.min(settings.max, wait * (1 - jitter + 2 * jitter * random)))
}
