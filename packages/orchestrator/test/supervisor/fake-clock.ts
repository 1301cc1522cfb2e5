import type { SupervisorClock } from '../../src/supervisor/timers.ts'

/** Time that moves only when it is told to. */
export interface FakeClock extends SupervisorClock {
  advance(ms: number): void
  /** Time passes while no timer can run, as it does for a process that is suspended. */
  suspend(ms: number): void
}

export function createFakeClock(): FakeClock {
  let now = 0
  let next = 0
  const timers = new Map<number, { readonly at: number; readonly run: () => void }>()
  return {
    now: () => now,
    monotonic: () => now,
    setTimeout(run, ms) {
      next += 1
      timers.set(next, { at: now + ms, run })
      return next
    },
    clearTimeout: (timer) => void timers.delete(timer as number),
    advance(ms) {
      const end = now + ms
      for (;;) {
        const due = [...timers]
          .filter(([, timer]) => timer.at <= end)
          .toSorted(([, a], [, b]) => a.at - b.at)[0]
        if (!due) break
        timers.delete(due[0])
        now = Math.max(now, due[1].at)
        due[1].run()
      }
      now = end
    },
    suspend(ms) {
      now += ms
    },
  }
}
