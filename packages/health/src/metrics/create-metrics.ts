import { option, readOptions, refuseUnknownKeys } from '@quintet/core/kit'
import { describeSeries, formatValue } from './exposition.ts'
import type { Gauge, Labels, MetricOptions, MetricsOptions, Metrics } from './metrics.ts'

/** What applies where {@link MetricsOptions} says nothing. */
export const metricsDefaults = Object.freeze({
  maxSeries: 500,
  buckets: Object.freeze([0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]),
})

/** The media type of a scrape. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

interface Family {
  write(lines: string[]): void | Promise<void>
}

/**
 * Makes an empty registry of metrics.
 *
 * @throws TypeError for options that are wrong, and later for names that are wrong or taken, and for labels that a
 *   metric did not declare.
 */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const spec = { maxSeries: option.count(metricsDefaults.maxSeries, { min: 1 }) }
  const { maxSeries } = readOptions(options, spec, 'createMetrics')
  const families = new Map<string, Family>()
  const sources: (() => string | Promise<string>)[] = []

  const register = (name: string, options: MetricOptions, known: readonly string[], family: Family): void => {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name))
      throw new TypeError(`metrics: ${JSON.stringify(name)} is no metric name.`)
    if (families.has(name)) throw new TypeError(`metrics: there are two metrics named "${name}".`)
    refuseUnknownKeys(options, known, name)
    families.set(name, family)
  }

  return {
    counter(name, options) {
      const series = createSeries(name, options.labels, maxSeries, () => ({ value: 0 }))
      register(name, options, ['help', 'labels'], {
        write(lines) {
          describeFamily(lines, name, options.help, 'counter')
          for (const [labels, cell] of series.all())
            lines.push(`${describeSeries(name, labels)} ${formatValue(cell.value)}`)
        },
      })
      const bind = (labels: Labels): ((step?: number) => void) => {
        const cell = series.get(labels)
        return (step = 1) => {
          if (!(step >= 0)) throw new TypeError(`${name}: a counter cannot go on by ${step}.`)
          cell.value += step
        }
      }
      return { bind, add: (labels, step) => bind(labels)(step) }
    },
    gauge(name, options) {
      const series = createSeries(name, options.labels, maxSeries, () => ({ value: 0 }))
      const gauge: Gauge = {
        set(labels, value) {
          series.get(labels).value = value
        },
      }
      register(name, options, ['help', 'labels', 'collect'], {
        async write(lines) {
          await options.collect?.(gauge)
          describeFamily(lines, name, options.help, 'gauge')
          for (const [labels, cell] of series.all())
            lines.push(`${describeSeries(name, labels)} ${formatValue(cell.value)}`)
        },
      })
      return gauge
    },
    histogram(name, options) {
      const bounds = options.buckets ?? metricsDefaults.buckets
      if (bounds.length === 0 || bounds.some((bound, at) => !(bound > (bounds[at - 1] ?? -Infinity)))) {
        throw new TypeError(`${name}.buckets: must be ascending numbers.`)
      }
      const series = createSeries(name, options.labels, maxSeries, () => ({
        buckets: new Float64Array(bounds.length + 1),
        sum: 0,
      }))
      register(name, options, ['help', 'labels', 'buckets'], {
        write(lines) {
          describeFamily(lines, name, options.help, 'histogram')
          for (const [labels, { buckets, sum }] of series.all()) {
            let count = 0
            for (const [at, bound] of [...bounds, Infinity].entries()) {
              count += buckets[at] ?? 0
              lines.push(
                `${describeSeries(`${name}_bucket`, { ...labels, le: formatValue(bound) })} ${count}`,
              )
            }
            lines.push(`${describeSeries(`${name}_sum`, labels)} ${formatValue(sum)}`)
            lines.push(`${describeSeries(`${name}_count`, labels)} ${count}`)
          }
        },
      })
      const bind = (labels: Labels): ((value: number) => void) => {
        const cell = series.get(labels)
        return (value) => {
          if (Number.isNaN(value)) return
          let at = 0
          while (at < bounds.length && value > (bounds[at] as number)) at++
          cell.buckets[at] = (cell.buckets[at] ?? 0) + 1
          cell.sum += value
        }
      }
      return { bind, record: (labels, value) => bind(labels)(value) }
    },
    include(source) {
      sources.push(source)
    },
    async scrape() {
      const lines: string[] = []
      for (const family of families.values()) await family.write(lines)
      for (const source of sources) lines.push((await source()).trimEnd())
      return `${lines.join('\n')}\n`
    },
  }
}

interface Series<Cell> {
  get(labels: Labels): Cell
  all(): Iterable<readonly [Labels, Cell]>
}

/** The cells of one metric, one per combination of labels, up to a limit. */
function createSeries<Cell>(
  name: string,
  labelNames: readonly string[] = [],
  limit: number,
  make: () => Cell,
): Series<Cell> {
  for (const label of labelNames) {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) || label === 'le')
      throw new TypeError(`${name}: ${JSON.stringify(label)} is no label name.`)
  }
  const cells = new Map<string, readonly [Labels, Cell]>()
  // A metric without labels has its one sample from the start, so that a rate can see the first step.
  if (labelNames.length === 0) cells.set('', [{}, make()])
  const overflow: Labels = Object.fromEntries(labelNames.map((label) => [label, 'other']))
  const find = (labels: Labels, mayOverflow: boolean): Cell => {
    const key = labelNames.map((label) => labels[label]).join('\u0000')
    const found = cells.get(key)
    if (found !== undefined) return found[1]
    if (mayOverflow && cells.size >= limit) return find(overflow, false)
    const cell = make()
    cells.set(key, [Object.fromEntries(labelNames.map((label) => [label, String(labels[label])])), cell])
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

function describeFamily(lines: string[], name: string, help: string, type: string): void {
  lines.push(
    `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE ${name} ${type}`,
  )
}
