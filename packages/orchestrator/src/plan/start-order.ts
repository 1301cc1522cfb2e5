/** What the order of a start depends on. */
export interface Startable {
  readonly id: string
  readonly dependsOn: readonly (readonly string[])[]
}

/**
 * The steps of a start when nothing fails: a process of a step waits for one of the step before. In truth each starts the
 * moment that what it waits for is ready, not when a whole step is.
 */
export function startOrder<T extends Startable>(processes: readonly T[]): T[][] {
  const steps: T[][] = []
  const done = new Set<string>()
  let remaining = [...processes]
  while (remaining.length > 0) {
    const free = remaining.filter((each) => each.dependsOn.every((group) => group.some((id) => done.has(id))))
    // The plan has no circles; should there be one all the same, show what is left together.
    const step = free.length > 0 ? free : remaining
    steps.push(step)
    for (const { id } of step) done.add(id)
    remaining = remaining.filter((each) => !step.includes(each))
  }
  return steps
}
