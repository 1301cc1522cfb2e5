import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import type { InvocationObserver } from '@quintet/core/kit'
import type { EventLoopDelay, EventLoopWatch } from './event-loop.ts'

/** How the calls of one operation went; times in milliseconds. */
export interface OperationPerformance {
  readonly count: number
  /** Calls whose outcome was not `ok`. */
  readonly failed: number
  readonly average: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

export interface PerformanceReport {
  /** Seconds since the process started. */
  readonly uptime: number
  /** All calls together. */
  readonly calls: OperationPerformance
  readonly operations: Readonly<Record<string, OperationPerformance>>
  /** Megabytes. */
  readonly memory: {
    readonly rss: number
    readonly heapUsed: number
    readonly heapTotal: number
    readonly external: number
  }
  /** Seconds of processor time since the process started, and the share of one processor since the last report. */
  readonly cpu: { readonly user: number; readonly system: number; readonly share: number }
  /** Milliseconds. */
  readonly eventLoopDelay: EventLoopDelay
}

/** Observes calls and sums them up. */
export interface PerformanceMonitor extends InvocationObserver {
  /**
   * Counts one call of some other origin.
   *
   * @throws TypeError for a duration that is no finite number of milliseconds.
   */
  record(operation: string, durationMs: number, failed?: boolean): void
  report(): PerformanceReport
}

interface Tally {
  readonly histogram: RecordableHistogram
  failed: number
}

/** Operations that are told apart; further ones count as `other`. */
const maxOperations = 500

/** Makes a monitor that keeps one histogram per operation, with three significant digits. */
export function createPerformanceMonitor(eventLoop: EventLoopWatch): PerformanceMonitor {
  const all = createTally()
  const operations = new Map<string, Tally>()
  let lastCpu = process.cpuUsage()
  let lastAt = performance.now()

  const tallyOf = (operation: string): Tally => {
    const found = operations.get(operation)
    if (found !== undefined) return found
    if (operations.size >= maxOperations && operation !== 'other') return tallyOf('other')
    const tally = createTally()
    operations.set(operation, tally)
    return tally
  }
  const record = (operation: string, durationMs: number, failed = false): void => {
    if (!Number.isFinite(durationMs) || durationMs < 0)
      throw new TypeError(`performance.record: ${String(durationMs)} is no duration in milliseconds.`)
    // Whole microseconds, at least one, which is what the histogram takes.
    const microseconds = Math.max(1, Math.round(durationMs * 1_000))
    for (const tally of [all, tallyOf(operation)]) {
      tally.histogram.record(microseconds)
      if (failed) tally.failed++
    }
  }

  return {
    record,
    onSettled({ operation, outcome, durationMs }) {
      record(operation.name, durationMs, outcome !== 'ok')
    },
    report() {
      const cpu = process.cpuUsage()
      const now = performance.now()
      const spent = (cpu.user + cpu.system - lastCpu.user - lastCpu.system) / 1_000
      const share = spent / Math.max(1, now - lastAt)
      lastCpu = cpu
      lastAt = now
      const memory = process.memoryUsage()
      return {
        uptime: round(process.uptime()),
        calls: summarize(all),
        operations: Object.fromEntries([...operations].map(([name, tally]) => [name, summarize(tally)])),
        memory: {
          rss: toMegabytes(memory.rss),
          heapUsed: toMegabytes(memory.heapUsed),
          heapTotal: toMegabytes(memory.heapTotal),
          external: toMegabytes(memory.external),
        },
        cpu: { user: round(cpu.user / 1e6), system: round(cpu.system / 1e6), share: round(share) },
        eventLoopDelay: eventLoop.read(),
      }
    },
  }
}

function createTally(): Tally {
  return { histogram: createHistogram({ figures: 3 }), failed: 0 }
}

function summarize({ histogram, failed }: Tally): OperationPerformance {
  const empty = histogram.count === 0
  const at = (percentile: number): number => (empty ? 0 : round(histogram.percentile(percentile) / 1_000))
  return {
    count: histogram.count,
    failed,
    average: empty ? 0 : round(histogram.mean / 1_000),
    p50: at(50),
    p95: at(95),
    p99: at(99),
    max: empty ? 0 : round(histogram.max / 1_000),
  }
}

function toMegabytes(bytes: number): number {
  return Math.round((bytes / 1_048_576) * 10) / 10
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000
}
