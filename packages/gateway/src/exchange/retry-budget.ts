/** How often a request is tried again. */
export interface Retries {
  readonly attempts: number
  readonly budget: RetryBudget
}

/** Keeps retries a share of requests. */
export interface RetryBudget {
  /** Counts a request. */
  deposit(): void
  /** True when a retry may be made now. */
  withdraw(): boolean
}

/** How many retries can be saved up, so that a quiet gateway may still retry. */
const reserve = 10

/** @param share retries per request, from 0 to 1. */
export function createRetryBudget(share: number): RetryBudget {
  let saved = share === 0 ? 0 : reserve
  return {
    deposit() {
      saved = Math.min(reserve, saved + share)
    },
    withdraw() {
      if (saved < 1) return false
      saved -= 1
      return true
    },
  }
}
