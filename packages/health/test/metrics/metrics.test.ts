import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createHealth, createMetrics } from '../../src/index.ts'

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
    expect(() => metrics.counter('c', { help: 'C.', labels: ['le'] })).toThrow('is not a label name')
    expect(() => metrics.histogram('h', { help: 'H.', buckets: [2, 1] })).toThrow('must be ascending')
    expect(() => metrics.counter('d', { help: 'D.', label: [] } as never)).toThrow('Did you mean "labels"?')
    const counter = metrics.counter('e', { help: 'E.', labels: ['a'] })
    expect(() => counter.add({ b: 'x' })).toThrow('takes the labels a, not b')
    expect(() => counter.add({ a: 'x' }, -1)).toThrow('cannot go on by -1')
    expect(() => createMetrics({ maxSeries: 0 })).toThrow(
      'createMetrics.maxSeries: 0 is not a whole number of at least 1',
    )
  })

  it.each([undefined, null, '1', {}, 1n])('refuses %s as a value', async (value) => {
    const metrics = createMetrics()
    const counter = metrics.counter('c', { help: 'C.' })
    const gauge = metrics.gauge('g', { help: 'G.' })
    const histogram = metrics.histogram('h', { help: 'H.', buckets: [1] })
    if (value !== undefined) expect(() => counter.add({}, value as never)).toThrow(TypeError)
    expect(() => gauge.set({}, value as never)).toThrow(TypeError)
    expect(() => histogram.record({}, value as never)).toThrow(TypeError)
    const text = await metrics.scrape()
    expect(text).toContain('c 0\n')
    expect(text).toContain('g 0\n')
    expect(text).toContain('h_sum 0\n')
  })

  it('refuses what would spoil a scrape when it is declared', () => {
    const metrics = createMetrics()
    metrics.histogram('size', { help: 'S.' })
    metrics.counter('calls_count', { help: 'C.' })
    expect(() => metrics.counter('none', {} as never)).toThrow('none.help: is missing')
    expect(() => metrics.counter('size_count', { help: 'C.' })).toThrow(
      '"size_count" of "size_count" is a sample of "size"',
    )
    expect(() => metrics.histogram('calls', { help: 'C.' })).toThrow(
      '"calls_count" of "calls" is a sample of "calls_count"',
    )
    expect(() => metrics.counter('d', { help: 'D.', labels: ['__name__'] })).toThrow('is not a label name')
    expect(() => metrics.counter('e', { help: 'E.' }).add({}, Infinity)).toThrow('cannot go on by Infinity')
  })

  it('keeps combinations of labels apart, whatever is in them', async () => {
    const metrics = createMetrics()
    const counter = metrics.counter('c', { help: 'C.', labels: ['a', 'b'] })
    counter.add({ a: 'x\u0000y', b: 'z' })
    counter.add({ a: 'x', b: 'y\u0000z' })
    expect((await metrics.scrape()).match(/^c\{/gm)).toHaveLength(2)
  })

  it('writes each family once, also when sources have it too', async () => {
    const metrics = createMetrics()
    metrics.gauge('process_cpu_seconds_total', { help: 'Ours.' })
    using _first = createHealth({ metrics })
    using _second = createHealth({ metrics })
    const lines = (await metrics.scrape()).split('\n')
    for (const name of ['process_cpu_seconds_total', 'process_cpu_user_seconds_total', 'nodejs_version_info'])
      expect(lines.filter((line) => line.startsWith(`# TYPE ${name} `))).toHaveLength(1)
    const samples = lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.replace(/ \S+$/, ''))
    expect(new Set(samples).size).toBe(samples.length)
  })

  describe('with a source that hangs', () => {
    afterEach(() => void vi.useRealTimers())

    it('leaves it out after its time, and asks it once', async () => {
      vi.useFakeTimers()
      const metrics = createMetrics()
      let asked = 0
      const hang = (): Promise<never> => {
        asked += 1
        return new Promise(() => undefined)
      }
      metrics.counter('fine_total', { help: 'F.' }).add({})
      metrics.gauge('depth', { help: 'D.', collect: hang })
      metrics.include(hang)
      for (let scrapes = 0; scrapes < 2; scrapes++) {
        const scrape = metrics.scrape()
        await vi.advanceTimersByTimeAsync(2_000)
        const text = await scrape
        expect(text).toContain('fine_total 1')
        expect(text).toContain('# depth is left out')
        expect(text).not.toContain('depth 0')
      }
      expect(asked).toBe(2)
    })
  })
})
