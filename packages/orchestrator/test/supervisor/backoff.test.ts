import { describe, expect, it } from 'vitest'
import { backoffDelay } from '../../src/supervisor/backoff.ts'

const settings = { type: 'exponential', initial: 1_000, max: 30_000, factor: 2 } as const

describe('backoffDelay', () => {
  it('doubles from the initial delay up to the longest', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7].map((failures) => backoffDelay(settings, failures, false, 0.5))
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  })

  it('does not wait after the first crash of a process that was ready', () => {
    expect([1, 2, 3].map((failures) => backoffDelay(settings, failures, true, 0.5))).toEqual([
      0, 1_000, 2_000,
    ])
  })

  it('spreads by a fifth, and never beyond the longest', () => {
    expect(backoffDelay(settings, 2, false, 0)).toBe(1_600)
    expect(backoffDelay(settings, 2, false, 1)).toBe(2_400)
    expect(backoffDelay(settings, 9, false, 1)).toBe(30_000)
  })

  it('always waits the same with type fixed', () => {
    expect(
      [1, 2, 3].map((failures) => backoffDelay({ ...settings, type: 'fixed' }, failures, false, 0.5)),
    ).toEqual([1_000, 1_000, 1_000])
  })
})
