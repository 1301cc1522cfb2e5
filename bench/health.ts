import type { SettledCall } from '@quintet/core/kit'
import { createMetrics, createPerformanceMonitor, observeCalls, watchEventLoop } from '@quintet/health'
import { Histogram, Registry } from 'prom-client'
import type { Bench, Figure } from './support/bench.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'call-record': { about: 'recording one call in a histogram', better: 'lower' },
  'call-report': { about: 'recording one call for the performance report', better: 'lower' },
  'scrape-histograms': { about: 'one scrape of a thousand histograms', better: 'lower' },
}

const rounds = 7
const calls = 200_000
const series = 1_100
const buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** Nanoseconds for one call, the best of some rounds. */
function nanoseconds(run: (n: number) => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const begin = process.hrtime.bigint()
    for (let n = 0; n < calls; n++) run(n)
    best = Math.min(best, Number(process.hrtime.bigint() - begin) / calls)
  }
  return best
}

/** Milliseconds for one scrape, the best of some rounds. */
async function milliseconds(scrape: () => Promise<string>): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const begin = performance.now()
    await scrape()
    best = Math.min(best, performance.now() - begin)
  }
  return best
}

/** What measuring a call costs, and what a scrape costs, against prom-client. */
export default async function* health(): AsyncIterable<Figure> {
  const names = Array.from({ length: 100 }, (_, n) => `service.procedure${n}`)
  const settled = names.map((name): SettledCall => ({
    operation: { surface: 'rpc', name, access: 'public', freshness: undefined, timeout: 0 },
    requestId: 'r',
    tenantId: null,
    userId: null,
    outcome: 'ok',
    errorCode: undefined,
    durationMs: 12,
  }))
  const observer = observeCalls(createMetrics())
  const promHistogram = new Histogram({
    name: 'a',
    help: 'A.',
    labelNames: ['operation', 'outcome'],
    buckets,
    registers: [],
  })
  const ours = nanoseconds((n) => observer.onSettled(settled[n % 100] as SettledCall))
  const theirs = nanoseconds((n) =>
    promHistogram.observe({ operation: names[n % 100] ?? '', outcome: 'ok' }, 0.012),
  )
  yield { name: 'call-record', value: ours, unit: 'ns', against: 'prom-client', ratio: ours / theirs }

  using eventLoop = watchEventLoop()
  const monitor = createPerformanceMonitor(eventLoop)
  const report = nanoseconds((n) => monitor.record(names[n % 100] ?? '', 12))
  yield { name: 'call-report', value: report, unit: 'ns', against: 'nothing', ratio: null }

  const metrics = createMetrics({ maxSeries: series })
  const registry = new Registry()
  const mine = metrics.histogram('b', { help: 'B.', labels: ['operation'] })
  const prom = new Histogram({
    name: 'b',
    help: 'B.',
    labelNames: ['operation'],
    buckets,
    registers: [registry],
  })
  for (let n = 0; n < series; n++) {
    mine.record({ operation: `o${n}` }, 0.1)
    prom.observe({ operation: `o${n}` }, 0.1)
  }
  const scrape = await milliseconds(() => metrics.scrape())
  const promScrape = await milliseconds(() => registry.metrics())
  yield {
    name: 'scrape-histograms',
    value: scrape,
    unit: 'ms',
    against: 'prom-client',
    ratio: scrape / promScrape,
  }
}
