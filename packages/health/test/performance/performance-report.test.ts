import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createPerformanceMonitor, watchEventLoop } from '../../src/index.ts'

const eventLoop = watchEventLoop()
afterAll(() => eventLoop[Symbol.dispose]())

describe('createPerformanceMonitor', () => {
  it('sums calls up by operation, with percentiles', () => {
    const monitor = createPerformanceMonitor(eventLoop)
    for (let ms = 1; ms <= 100; ms++) monitor.record('objects.list', ms, ms > 95)
    monitor.record('objects.get', 1_000)
    const { calls, operations } = monitor.report()
    expect(operations['objects.list']).toMatchObject({ count: 100, failed: 5 })
    const list = operations['objects.list']
    expect(list?.average).toBeCloseTo(50.5, 0)
    expect(list?.p50).toBeCloseTo(50, 0)
    expect(list?.p95).toBeCloseTo(95, 0)
    expect(list?.p99).toBeCloseTo(99, 0)
    expect(list?.max).toBeCloseTo(100, 0)
    expect(calls).toMatchObject({ count: 101, failed: 5 })
    expect(calls.max).toBeGreaterThan(999)
  })

  it('says zero where nothing was called', () => {
    expect(createPerformanceMonitor(eventLoop).report().calls).toEqual({
      count: 0,
      failed: 0,
      average: 0,
      p50: 0,
      p95: 0,
      p99: 0,
      max: 0,
    })
  })

  it('tells memory, processor time and the delay of the event loop', () => {
    const { memory, cpu, uptime, eventLoopDelay } = createPerformanceMonitor(eventLoop).report()
    expect(memory.rss).toBeGreaterThan(memory.heapUsed)
    expect(cpu.user).toBeGreaterThan(0)
    expect(cpu.share).toBeGreaterThanOrEqual(0)
    expect(uptime).toBeGreaterThan(0)
    expect(eventLoopDelay.max).toBeGreaterThanOrEqual(eventLoopDelay.p50)
  })

  it('tells the share of a processor since the report before', () => {
    let now = 1_000
    let cpu = { user: 0, system: 0 }
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    vi.spyOn(process, 'cpuUsage').mockImplementation(() => cpu)
    onTestFinished(() => void vi.restoreAllMocks())
    const monitor = createPerformanceMonitor(eventLoop)
    now += 1_000
    cpu = { user: 200_000, system: 50_000 }
    expect(monitor.report().cpu).toEqual({ user: 0.2, system: 0.05, share: 0.25 })
    now += 500
    cpu = { user: 600_000, system: 150_000 }
    expect(monitor.report().cpu.share).toBe(1)
    now += 500
    expect(monitor.report().cpu.share).toBe(0)
  })

  it('keeps a bounded number of operations', () => {
    const monitor = createPerformanceMonitor(eventLoop)
    for (let n = 0; n < 600; n++) monitor.record(`operation-${n}`, 1)
    const { operations } = monitor.report()
    expect(Object.keys(operations)).toHaveLength(501)
    expect(operations['other']?.count).toBe(100)
  })

  it.each([Number.NaN, Infinity, -1, undefined])('refuses a duration of %s', (duration) => {
    const monitor = createPerformanceMonitor(eventLoop)
    expect(() => monitor.record('checkout', duration as never)).toThrow(TypeError)
    expect(monitor.report().calls.count).toBe(0)
  })
})
