/** How many crashes are too many. */
export interface CrashBudgetOptions {
  readonly maxRestarts: number
  /** Milliseconds. */
  readonly window: number
}

/**
 * A second, longer look: without it a process that lives a little longer than its backoff is restarted for
 * ever, because the short window never fills.
 */
const longer = { windows: 10, restarts: 2 }

/**
 * Counts every unexpected exit and every failed start in a sliding window, and in one ten times as long in which twice as many
 * are allowed.
 */
export interface CrashBudget {
  /** Counts one at a time of the monotonic clock. True when that was one too many. */
  spend(at: number): boolean
  /** Forgets all crashes: an operator starts it by hand. */
  reset(): void
}

export function createCrashBudget({ maxRestarts, window }: CrashBudgetOptions): CrashBudget {
  let crashes: number[] = []
  return {
    spend(at) {
      crashes = [...crashes, at].filter((crash) => at - crash < window * longer.windows)
      const recent = crashes.filter((crash) => at - crash < window).length
      return recent > maxRestarts || crashes.length > maxRestarts * longer.restarts
    },
    reset() {
      crashes = []
    },
  }
}
