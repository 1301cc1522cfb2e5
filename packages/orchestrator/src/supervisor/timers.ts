/** Time as the supervisor sees it, so that tests can hold it. */
export interface SupervisorClock {
  /** Milliseconds since the epoch; to show. */
  now(): number
  /** Milliseconds that never go backwards; for windows and deadlines. */
  monotonic(): number
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

export const supervisorClock: SupervisorClock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
})
