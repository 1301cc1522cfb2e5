import type { Plan } from '../plan/plan.ts'
import { backoffDelay } from './backoff.ts'
import { createCrashBudget } from './crash-budget.ts'

/** What becomes of a process that crashes again and again. */
export interface BudgetSimulation {
  /** The waits before each new start, in milliseconds, without their jitter. */
  readonly delays: readonly number[]
  /** How many crashes it takes until it is given up, and after how long; null when it is started for ever. */
  readonly givenUp: { readonly crashes: number; readonly afterMs: number } | null
}

/** More crashes than any budget that ends allows. */
const mostCrashes = 10_000

/** Plays the crash budget through for a process that crashes each time before it is ready. */
export function simulateBudget(supervision: Plan['supervision']): BudgetSimulation {
  const budget = createCrashBudget(supervision)
  const delays: number[] = []
  let at = 0
  for (let crashes = 1; crashes <= mostCrashes; crashes++) {
    if (budget.spend(at)) return { delays, givenUp: { crashes, afterMs: at } }
    const delay = backoffDelay(supervision.backoff, crashes, false, 0.5)
    delays.push(delay)
    at += delay
  }
  return { delays, givenUp: null }
}
