import type { ResolvedProcess } from '@quintet/core/kit'

/** Processes that siblings call come before those that call them; a circle keeps the order of the definition. */
export function inTopologyOrder(processes: readonly ResolvedProcess[]): readonly ResolvedProcess[] {
  const sorted: ResolvedProcess[] = []
  const visit = (entry: ResolvedProcess, trail: readonly ResolvedProcess[]): void => {
    if (sorted.includes(entry) || trail.includes(entry)) return
    for (const name of entry.topology.access) {
      const sibling = processes.find((other) => other.name === name)
      if (sibling) visit(sibling, [...trail, entry])
    }
    sorted.push(entry)
  }
  for (const entry of processes) visit(entry, [])
  return sorted
}
