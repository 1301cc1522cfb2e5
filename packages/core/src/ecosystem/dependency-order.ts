import { nearestKey } from '../options/known-keys.ts'

/** Something that has to come after others. */
export interface Dependent {
  readonly name: string
  readonly dependsOn: readonly string[]
}

/** What is wrong with a set of dependencies: names that do not exist, and cycles, in words. */
export function dependencyProblems(items: readonly Dependent[]): string[] {
  const names = items.map((item) => item.name)
  const problems: string[] = []
  for (const { name, dependsOn } of items) {
    for (const dependency of dependsOn) {
      if (names.includes(dependency)) continue
      const nearest = nearestKey(dependency, names)
      problems.push(
        `"${name}" depends on "${dependency}", which does not exist.${nearest ? ` Did you mean "${nearest}"?` : ''}`,
      )
    }
  }
  const cycle = findCycle(items)
  if (cycle !== undefined) problems.push(`the dependencies go round in a circle: ${cycle.join(' -> ')}.`)
  return problems
}

/**
 * Sorts items so that each comes after what it depends on; where that leaves a choice, their order stays.
 *
 * @throws TypeError when a dependency does not exist or the dependencies go round in a circle.
 */
export function sortByDependencies<Item extends Dependent>(items: readonly Item[]): readonly Item[] {
  const problems = dependencyProblems(items)
  if (problems.length > 0) throw new TypeError(problems.join('\n'))
  const sorted: Item[] = []
  const placed = new Set<string>()
  while (sorted.length < items.length) {
    const next = items.find(
      (item) => !placed.has(item.name) && item.dependsOn.every((name) => placed.has(name)),
    )
    if (next === undefined) break
    sorted.push(next)
    placed.add(next.name)
  }
  return sorted
}

/**
 * Holds `shutdown.priority` (lower stops first) against `dependsOn` (a dependent stops before what it needs).
 *
 * @throws TypeError naming every app whose priority would stop it after something it depends on.
 */
export function assertShutdownOrder(apps: readonly (Dependent & { readonly priority: number })[]): void {
  const byName = new Map(apps.map((app) => [app.name, app]))
  const problems = apps.flatMap((app) =>
    [...dependenciesOf(app, byName)].flatMap((name) => {
      const dependency = byName.get(name)
      if (dependency === undefined || app.priority <= dependency.priority) return []
      return [
        `"${app.name}" depends on "${name}" and so stops before it, but its shutdown.priority ${app.priority} asks to stop after ` +
          `"${name}" with ${dependency.priority} (lower stops first). Take one of the two away.`,
      ]
    }),
  )
  if (problems.length > 0) throw new TypeError(problems.join('\n'))
}

function dependenciesOf(
  app: Dependent,
  byName: ReadonlyMap<string, Dependent>,
  found = new Set<string>(),
): Set<string> {
  for (const name of app.dependsOn) {
    const dependency = byName.get(name)
    if (dependency === undefined || found.has(name)) continue
    found.add(name)
    dependenciesOf(dependency, byName, found)
  }
  return found
}

function findCycle(items: readonly Dependent[]): readonly string[] | undefined {
  const byName = new Map(items.map((item) => [item.name, item]))
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]): readonly string[] | undefined => {
    const start = trail.indexOf(name)
    if (start >= 0) return [...trail.slice(start), name]
    if (done.has(name)) return undefined
    for (const dependency of byName.get(name)?.dependsOn ?? []) {
      const cycle = visit(dependency, [...trail, name])
      if (cycle !== undefined) return cycle
    }
    done.add(name)
    return undefined
  }
  for (const { name } of items) {
    const cycle = visit(name, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}
