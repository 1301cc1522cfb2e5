import type { EcosystemFailure } from '../running/running-ecosystem.ts'

/** How an ecosystem ends: because it was told to, or because of a failure. */
export interface Outcome {
  /** The first one. */
  readonly failure: EcosystemFailure | null
  /** Resolves with the exit code when all has stopped. */
  readonly stopped: Promise<number>
  /** Something that everything hangs on is lost: it stops, now or as soon as it runs. */
  fail(failure: EcosystemFailure): void
  /**
   * It runs from now on.
   *
   * @param work stops everything in order.
   * @returns false when it has failed by now, and stops at once.
   */
  begin(work: (reason: string) => Promise<void>): boolean
  /** Idempotent. */
  stop(reason?: string): Promise<void>
}

/** @param onStopping told when the stop begins. */
export function createOutcome(onStopping: () => void): Outcome {
  const stopped = Promise.withResolvers<number>()
  let failure: EcosystemFailure | null = null
  let work: ((reason: string) => Promise<void>) | undefined
  let stopping: Promise<void> | undefined

  async function run(reason: string): Promise<void> {
    try {
      await work?.(reason)
    } finally {
      stopped.resolve(failure === null ? 0 : 1)
    }
  }

  function stop(reason = 'the ecosystem stops'): Promise<void> {
    if (!stopping) onStopping()
    return (stopping ??= run(reason))
  }

  function stopFailed({ reason }: EcosystemFailure): void {
    // What goes wrong on the way down is in the logs; the failure is what is told.
    stop(reason).catch(() => undefined)
  }

  return {
    get failure() {
      return failure
    },
    stopped: stopped.promise,
    fail(found) {
      failure ??= found
      if (work) stopFailed(failure)
    },
    begin(given) {
      work = given
      if (failure) stopFailed(failure)
      return failure === null
    },
    stop,
  }
}
