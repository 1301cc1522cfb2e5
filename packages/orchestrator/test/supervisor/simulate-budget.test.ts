import { describe, expect, it } from 'vitest'
import { simulateBudget } from '../../src/supervisor/simulate-budget.ts'

const supervision = {
  strategy: 'one_for_one',
  maxRestarts: 5,
  window: 60_000,
  onSupervisorLoss: null,
  backoff: { type: 'exponential', initial: 1_000, max: 30_000, factor: 2 },
} as const

describe('simulateBudget', () => {
  it('tells the waits, and the crash that is one too many', () => {
    expect(simulateBudget(supervision)).toEqual({
      delays: [1_000, 2_000, 4_000, 8_000, 16_000],
      givenUp: { crashes: 6, afterMs: 31_000 },
    })
  })

  it('counts in the longer window where the short one never fills', () => {
    const slow = {
      ...supervision,
      backoff: { ...supervision.backoff, type: 'fixed', initial: 30_000 },
    } as const
    expect(simulateBudget(slow).givenUp).toEqual({ crashes: 11, afterMs: 300_000 })
  })

  it('knows of budgets that never end', () => {
    const patient = { ...supervision, window: 1_000, backoff: { ...supervision.backoff, initial: 30_000 } }
    expect(simulateBudget(patient).givenUp).toBeNull()
  })
})
