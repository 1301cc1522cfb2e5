/** What another plan makes of an ecosystem that runs. */
export interface PlanChanges {
  /** Processes that are new. */
  readonly started: readonly string[]
  /** Processes that are no part of it any more. */
  readonly stopped: readonly string[]
  /** Processes that are to run with something else. */
  readonly reloaded: readonly ProcessChange[]
  /** Processes that go on as they are, and are supervised in another way. */
  readonly supervised: readonly ProcessChange[]
  /** Settings of the supervisor. */
  readonly settings: readonly string[]
}

export interface ProcessChange {
  readonly id: string
  /** What differs; of environment variables the names. */
  readonly because: readonly string[]
}

export function isUnchanged(changes: PlanChanges): boolean {
  return Object.values(changes).every((each: readonly unknown[]) => each.length === 0)
}
