/** What the order of a stop depends on. */
export interface Stoppable {
  readonly id: string
  readonly dependsOn: readonly (readonly string[])[]
  readonly stopsBefore: readonly string[]
  readonly stopPriority: number
}

/**
 * The steps of an orderly stop: everything of a step stops together, when the step before is done. A process stops
 * when all that depend on it have; of those that could stop, the ones with the lowest priority go first.
 */
export function stopOrder(processes: readonly Stoppable[]): string[][] {
  const steps: string[][] = []
  let remaining = [...processes]
  while (remaining.length > 0) {
    const needed = new Set(remaining.flatMap((each) => [...each.dependsOn.flat(), ...each.stopsBefore]))
    const free = remaining.filter((each) => !needed.has(each.id))
    // The plan has no circles; should there be one all the same, stop what is left together.
    const candidates = free.length > 0 ? free : remaining
    const lowest = Math.min(...candidates.map((each) => each.stopPriority))
    const step = candidates.filter((each) => each.stopPriority === lowest)
    steps.push(step.map((each) => each.id))
    remaining = remaining.filter((each) => !step.includes(each))
  }
  return steps
}
