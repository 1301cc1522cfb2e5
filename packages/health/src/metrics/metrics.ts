/** Counts upwards. */
export interface Counter {
  /** @throws TypeError for a step that is negative or no number. */
  add(labels: Labels, step?: number): void
  /** The counter of one combination of labels, to be kept where it is used often. */
  bind(labels: Labels): (step?: number) => void
}

/** Goes up and down. */
export interface Gauge {
  set(labels: Labels, value: number): void
}

/** Sorts values into buckets. */
export interface Histogram {
  record(labels: Labels, value: number): void
  bind(labels: Labels): (value: number) => void
}

export type Labels = Readonly<Record<string, string>>

/** What every metric is declared with. */
export interface MetricOptions {
  /** One sentence for the readers of the metric. */
  readonly help: string
  /** The names of its labels. @defaultValue none */
  readonly labels?: readonly string[]
}

export interface CounterOptions extends MetricOptions {}

export interface GaugeOptions extends MetricOptions {
  /** Asked at every scrape, before the values are written. */
  readonly collect?: (gauge: Gauge) => void | Promise<void>
}

export interface HistogramOptions extends MetricOptions {
  /** Upper bounds, ascending. @defaultValue seconds from 5 ms to 10 s, as OpenTelemetry advises for durations */
  readonly buckets?: readonly number[]
}

export interface MetricsOptions {
  /** Combinations of labels that one metric keeps; further ones are counted together as `other`. @defaultValue 500 */
  readonly maxSeries?: number
}

/** Metrics in the Prometheus text format. */
export interface Metrics {
  counter(name: string, options: CounterOptions): Counter
  gauge(name: string, options: GaugeOptions): Gauge
  histogram(name: string, options: HistogramOptions): Histogram
  /** Appends text in the same format from another source, e.g. a prom-client registry, to every scrape. */
  include(source: () => string | Promise<string>): void
  /** The text of one scrape; of type {@link metricsContentType}. */
  scrape(): Promise<string>
}
