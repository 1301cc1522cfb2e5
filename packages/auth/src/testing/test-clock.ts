import type { Duration } from '@quintet/core'
import { type Clock, parseDuration } from '@quintet/core/kit'

/** A clock that stands still until it is told to go. */
export interface TestClock extends Clock {
  advance(by: Duration): void
}

/** Makes a clock that shows the given time, or that of now. */
export function createTestClock(start: number = Date.now()): TestClock {
  let passed = 0
  return {
    now: () => start + passed,
    monotonic: () => passed,
    advance(by) {
      passed += parseDuration(by, 'advance')
    },
  }
}
