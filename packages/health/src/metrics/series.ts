import type { Labels } from './metrics.ts'

/** The cells of one metric, one per combination of labels. */
export interface Series<Cell> {
  /** @throws TypeError for other labels than those that the metric declares. */
  get(labels: Labels): Cell
  all(): Iterable<readonly [Labels, Cell]>
}

/** Makes the cells of a metric; combinations of labels beyond the limit share one, whose labels are all `other`. */
export function createSeries<Cell>(
  name: string,
  labelNames: readonly string[],
  limit: number,
  make: () => Cell,
): Series<Cell> {
  const cells = new Map<string, readonly [Labels, Cell]>()
  // A metric without labels has its one sample from the start, so that a rate can see the first step.
  if (labelNames.length === 0) cells.set('[]', [{}, make()])
  const overflow: Labels = Object.fromEntries(labelNames.map((label) => [label, 'other']))
  const find = (labels: Labels, mayOverflow: boolean): Cell => {
    const values = labelNames.map((label) => String(labels[label]))
    const key = JSON.stringify(values)
    const found = cells.get(key)
    if (found !== undefined) return found[1]
    if (mayOverflow && cells.size >= limit) return find(overflow, false)
    const cell = make()
    cells.set(key, [Object.fromEntries(labelNames.map((label, at) => [label, values[at] ?? ''])), cell])
    return cell
  }
  return {
    get(labels) {
      const given = Object.keys(labels)
      if (given.length !== labelNames.length || given.some((label) => !labelNames.includes(label))) {
        throw new TypeError(
          `${name}: takes the labels ${labelNames.join(', ') || '(none)'}, not ${given.join(', ') || '(none)'}.`,
        )
      }
      return find(labels, true)
    },
    all: () => cells.values(),
  }
}
