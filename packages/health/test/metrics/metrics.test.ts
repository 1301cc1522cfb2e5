import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/index.ts'

describe('createMetrics', () => {
  it('writes counters, gauges and histograms as Prometheus reads them', async () => {
    const metrics = createMetrics()
    const calls = metrics.counter('calls_total', { help: 'Calls.', labels: ['method'] })
    calls.add({ method: 'get' })
    calls.bind({ method: 'get' })(2)
    metrics.gauge('depth', { help: 'How deep.', collect: (gauge) => gauge.set({}, 7) })
    const sizes = metrics.histogram('size', { help: 'Sizes.', buckets: [1, 10] })
    for (const value of [0.5, 1, 5, 50, Number.NaN]) sizes.record({}, value)
    metrics.include(() => 'other 1\n')
    expect(await metrics.scrape()).toBe(
      [
        '# HELP calls_total Calls.',
        '# TYPE calls_total counter',
        'calls_total{method="get"} 3',
        '# HELP depth How deep.',
        '# TYPE depth gauge',
        'depth 7',
        '# HELP size Sizes.',
        '# TYPE size histogram',
        'size_bucket{le="1"} 2',
        'size_bucket{le="10"} 3',
        'size_bucket{le="+Inf"} 4',
        'size_sum 56.5',
        'size_count 4',
        'other 1',
        '',
      ].join('\n'),
    )
  })

  it('has a sample of what has no labels from the start', async () => {
    const metrics = createMetrics()
    metrics.counter('orders_total', { help: 'Orders.' })
    metrics.gauge('depth', { help: 'How deep.' })
    metrics.histogram('size', { help: 'Sizes.', buckets: [1] })
    metrics.counter('calls_total', { help: 'Calls.', labels: ['method'] })
    const samples = (await metrics.scrape()).split('\n').filter((line) => !line.startsWith('#'))
    expect(samples).toEqual([
      'orders_total 0',
      'depth 0',
      'size_bucket{le="1"} 0',
      'size_bucket{le="+Inf"} 0',
      'size_sum 0',
      'size_count 0',
      '',
    ])
  })

  it('keeps every label on one line, whatever is in it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (value) => {
        const metrics = createMetrics()
        metrics.counter('c', { help: 'C.', labels: ['l'] }).add({ l: value })
        const lines = (await metrics.scrape()).split('\n')
        expect(lines).toHaveLength(4)
        const quoted = /^c\{l="((?:[^"\\\n]|\\[\\"n])*)"\} 1$/.exec(lines[2] ?? '')?.[1]
        expect(quoted?.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))).toBe(
          value,
        )
      }),
      { numRuns: 200 },
    )
  })

  it('counts combinations of labels beyond its limit together', async () => {
    const metrics = createMetrics({ maxSeries: 2 })
    const counter = metrics.counter('c', { help: 'C.', labels: ['user'] })
    for (const user of ['a', 'b', 'c', 'd', 'a']) counter.add({ user })
    const text = await metrics.scrape()
    expect(text).toContain('c{user="a"} 2')
    expect(text).toContain('c{user="other"} 2')
    expect(text).not.toContain('user="c"')
  })

  it('refuses names, labels and steps that make no sense', () => {
    const metrics = createMetrics()
    metrics.counter('taken', { help: 'T.' })
    expect(() => metrics.counter('taken', { help: 'T.' })).toThrow('two metrics named "taken"')
    expect(() => metrics.gauge('no-name', { help: 'N.' })).toThrow('is no metric name')
    expect(() => metrics.counter('c', { help: 'C.', labels: ['le'] })).toThrow('is no label name')
    expect(() => metrics.histogram('h', { help: 'H.', buckets: [2, 1] })).toThrow('must be ascending')
    expect(() => metrics.counter('d', { help: 'D.', label: [] } as never)).toThrow('Did you mean "labels"?')
    const counter = metrics.counter('e', { help: 'E.', labels: ['a'] })
    expect(() => counter.add({ b: 'x' })).toThrow('takes the labels a, not b')
    expect(() => counter.add({ a: 'x' }, -1)).toThrow('cannot go on by -1')
    expect(() => createMetrics({ maxSeries: 0 })).toThrow(
      'createMetrics.maxSeries: 0 is not a whole number of at least 1',
    )
  })
})
