/** Where time comes from, so that tests can hold it. */
export interface Clock {
  /** Milliseconds since the epoch; for what is stored, sent or shown. */
  now(): number
  /** Milliseconds that never go backwards; for deadlines and windows. */
  monotonic(): number
}

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
})
