import { option, readOptions } from '@quintet/core/kit'
import { describeSeries, formatValue, leaveOutFamilies } from './exposition.ts'
import type { Gauge, Labels, Metrics, MetricsOptions } from './metrics.ts'
import { createScrapeSource, tooLate, type ScrapeSource } from './scrape-source.ts'
import { createSeries } from './series.ts'

/** What applies where {@link MetricsOptions} says nothing. */
export const metricsDefaults = Object.freeze({
  maxSeries: 500,
  buckets: Object.freeze([0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]),
})

/** The media type of a scrape. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** Brings the values up to date. */
  readonly refresh?: ScrapeSource<void>
  write(lines: string[]): void
}

const labelName = option.text(undefined, {
  pattern: /^(?!__|le$)[a-zA-Z_][a-zA-Z0-9_]*$/,
  expected: 'a label name: letters, digits and "_", not "le" and not beginning with "__"',
})
const metricSpec = { help: option.text(), labels: option.list(labelName, { unique: (label) => label }) }
const gaugeSpec = {
  ...metricSpec,
  collect: option.function<(gauge: Gauge) => void | Promise<void>>().optional(),
}
const histogramSpec = {
  ...metricSpec,
  buckets: option.list(option.number(), { min: 1 }).map(assertAscending).or(metricsDefaults.buckets),
}

/**
 * Makes an empty registry of metrics.
 *
 * @throws TypeError for options that are wrong, and later for names that are wrong or taken, for labels that a metric
 *   did not declare, and for values that are no numbers.
 */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const spec = { maxSeries: option.count(metricsDefaults.maxSeries, { min: 1 }) }
  const { maxSeries } = readOptions(options, spec, 'createMetrics')
  const families: Family[] = []
  /** Names of samples, and whose they are. */
  const taken = new Map<string, string>()
  const sources: ScrapeSource<string>[] = []

  /** @param suffixes of the samples that the family writes. */
  const register = (family: Family, suffixes: readonly string[] = []): void => {
    const { name } = family
    const samples = [name, ...suffixes.map((suffix) => `${name}${suffix}`)]
    const conflict = samples.find((sample) => taken.has(sample))
    if (conflict === name && taken.get(name) === name)
      throw new TypeError(`metrics: there are two metrics named "${name}".`)
    if (conflict !== undefined)
      throw new TypeError(
        `metrics: "${conflict}" of "${name}" is a sample of "${taken.get(conflict) ?? ''}".`,
      )
    for (const sample of samples) taken.set(sample, name)
    families.push(family)
  }

  const writeCells =
    (name: string, cells: () => Iterable<readonly [Labels, { readonly value: number }]>) =>
    (lines: string[]): void => {
      for (const [labels, cell] of cells())
        lines.push(`${describeSeries(name, labels)} ${formatValue(cell.value)}`)
    }

  return {
    counter(name, options) {
      assertMetricName(name)
      const { help, labels: labelNames } = readOptions(options, metricSpec, name)
      const series = createSeries(name, labelNames, maxSeries, () => ({ value: 0 }))
      register({ name, help, type: 'counter', write: writeCells(name, series.all) })
      const bind = (labels: Labels): ((step?: number) => void) => {
        const cell = series.get(labels)
        return (step = 1) => {
          if (!(assertNumber(name, step) >= 0) || step === Infinity)
            throw new TypeError(`${name}: a counter cannot go on by ${step}.`)
          cell.value += step
        }
      }
      return { bind, add: (labels, step) => bind(labels)(step) }
    },
    gauge(name, options) {
      assertMetricName(name)
      const { help, labels: labelNames, collect } = readOptions(options, gaugeSpec, name)
      const series = createSeries(name, labelNames, maxSeries, () => ({ value: 0 }))
      const gauge: Gauge = {
        set(labels, value) {
          series.get(labels).value = assertNumber(name, value)
        },
      }
      const refresh = collect && createScrapeSource(() => collect(gauge))
      const write = writeCells(name, series.all)
      register({ name, help, type: 'gauge', write, ...(refresh ? { refresh } : {}) })
      return gauge
    },
    histogram(name, options) {
      assertMetricName(name)
      const { help, labels: labelNames, buckets: bounds } = readOptions(options, histogramSpec, name)
      const series = createSeries(name, labelNames, maxSeries, () => ({
        buckets: new Float64Array(bounds.length + 1),
        sum: 0,
      }))
      const write = (lines: string[]): void => {
        for (const [labels, { buckets, sum }] of series.all()) {
          let count = 0
          for (const [at, bound] of [...bounds, Infinity].entries()) {
            count += buckets[at] ?? 0
            lines.push(`${describeSeries(`${name}_bucket`, { ...labels, le: formatValue(bound) })} ${count}`)
          }
          lines.push(`${describeSeries(`${name}_sum`, labels)} ${formatValue(sum)}`)
          lines.push(`${describeSeries(`${name}_count`, labels)} ${count}`)
        }
      }
      register({ name, help, type: 'histogram', write }, ['_bucket', '_sum', '_count'])
      const bind = (labels: Labels): ((value: number) => void) => {
        const cell = series.get(labels)
        return (value) => {
          if (Number.isNaN(assertNumber(name, value))) return
          let at = 0
          while (at < bounds.length && value > (bounds[at] as number)) at++
          cell.buckets[at] = (cell.buckets[at] ?? 0) + 1
          cell.sum += value
        }
      }
      return { bind, record: (labels, value) => bind(labels)(value) }
    },
    include(source) {
      sources.push(createScrapeSource(source))
    },
    async scrape() {
      const [refreshed, texts] = await Promise.all([
        Promise.all(families.map(async (family) => [family, await family.refresh?.()] as const)),
        Promise.all(sources.map((source) => source())),
      ])
      const lines: string[] = []
      for (const [family, result] of refreshed) {
        if (result === tooLate) lines.push(`# ${family.name} is left out: its collect is not done.`)
        else writeFamily(lines, family)
      }
      const written = new Set(taken.keys())
      for (const text of texts) {
        if (text === tooLate) lines.push('# An included source is left out: it is not done.')
        else lines.push(leaveOutFamilies(text, written).trimEnd())
      }
      return `${lines.join('\n')}\n`
    },
  }
}

function assertMetricName(name: string): void {
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name))
    throw new TypeError(`metrics: ${JSON.stringify(name)} is no metric name.`)
}

function assertAscending(bounds: readonly number[], path: string): readonly number[] {
  if (bounds.every((bound, at) => bound > (bounds[at - 1] ?? -Infinity))) return bounds
  throw new TypeError(`${path}: must be ascending numbers.`)
}

/** A text would be taken for a number or spoil the whole scrape. */
function assertNumber(name: string, value: unknown): number {
  if (typeof value === 'number') return value
  throw new TypeError(`${name}: ${JSON.stringify(value) ?? 'undefined'} is no number.`)
}

function writeFamily(lines: string[], family: Family): void {
  const help = family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  lines.push(`# HELP ${family.name} ${help}`, `# TYPE ${family.name} ${family.type}`)
  family.write(lines)
}
