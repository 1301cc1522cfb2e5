import { systemClock, type Clock } from '@quintet/core/kit'

/** A clock with timers. */
export interface SupervisorClock extends Clock {
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

export const supervisorClock: SupervisorClock = Object.freeze({
  ...systemClock,
  setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
})

/** Timers with names, each at most once. */
export interface Timers<Name> {
  /** Starts a timer anew. */
  arm(name: Name, ms: number, run: () => void): void
  disarm(...names: readonly Name[]): void
}

/** @param enter runs what a timer is for. */
export function createTimers<Name>(clock: SupervisorClock, enter: (run: () => void) => void): Timers<Name> {
  const timers = new Map<Name, unknown>()

  function disarm(...names: readonly Name[]): void {
    for (const name of names) {
      if (timers.has(name)) clock.clearTimeout(timers.get(name))
      timers.delete(name)
    }
  }

  return {
    arm(name, ms, run) {
      disarm(name)
      const expire = (): void => {
        timers.delete(name)
        enter(run)
      }
      timers.set(name, clock.setTimeout(expire, ms))
    },
    disarm,
  }
}
