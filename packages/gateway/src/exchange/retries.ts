import type { RetryBudget } from './retry-budget.ts'

/** How often a request is tried again. */
export interface Retries {
  readonly attempts: number
  readonly budget: RetryBudget
}
