import { systemClock, type Clock } from '../clock.ts'
import type { CheckResult, HealthCheck, HealthChecks, HealthReport } from './health-checks.ts'

/** {@link HealthChecks} with the handles by which its owner tells the process's state. */
export interface OwnedHealthChecks extends HealthChecks {
  /** Everything listens: ready from now on, as far as the checks agree. */
  markStarted(): void
  /** Not ready from now on, for good: also a start that ends after it changes nothing. */
  stopAccepting(): void
}

export interface HealthChecksOptions {
  readonly checks?: readonly HealthCheck[]
  /** Sees every report, and may answer with another. When it fails, so does the report. */
  readonly onReport?: (report: HealthReport) => Promise<HealthReport | void> | HealthReport | void
  readonly clock?: Clock
}

/** What applies where a check says nothing, and how long a report is kept; milliseconds. */
export const healthCheckDefaults = { critical: true, timeout: 2_000, reportKeptFor: 1_000 } as const

/** Makes the health of one process. */
export function createHealthChecks(options: HealthChecksOptions = {}): OwnedHealthChecks {
  const clock = options.clock ?? systemClock
  const checks = new Map<string, HealthCheck>()
  let started = false
  let stopping = false
  let running: Promise<HealthReport> | undefined
  let kept: { readonly report: HealthReport; readonly at: number } | undefined

  const add = (check: HealthCheck): void => {
    if (checks.has(check.name)) throw new TypeError(`health: there are two checks named "${check.name}".`)
    checks.set(check.name, check)
    kept = undefined
  }
  for (const check of options.checks ?? []) add(check)

  const show = async (report: HealthReport): Promise<HealthReport> => {
    const startedAt = clock.monotonic()
    try {
      return (await options.onReport?.(report)) ?? report
    } catch (error) {
      const durationMs = clock.monotonic() - startedAt
      const failed: CheckResult = { status: 'fail', detail: reasonOf(error), durationMs }
      return { status: 'fail', checks: { ...report.checks, onHealthCheck: failed } }
    }
  }

  const run = async (): Promise<HealthReport> => {
    try {
      const results = await Promise.all(
        [...checks.values()].map(async (check) => [check.name, await runCheck(check, clock)] as const),
      )
      const report = summarize(results)
      const answered = await show(report)
      kept = { report: answered, at: clock.monotonic() }
      return answered
    } finally {
      running = undefined
    }
  }

  return {
    get started() {
      return started
    },
    get accepting() {
      return started && !stopping
    },
    add,
    report() {
      if (kept !== undefined && clock.monotonic() - kept.at < healthCheckDefaults.reportKeptFor) {
        return Promise.resolve(kept.report)
      }
      return (running ??= run())
    },
    markStarted() {
      started = true
    },
    stopAccepting() {
      stopping = true
    },
  }
}

async function runCheck(check: HealthCheck, clock: Clock): Promise<CheckResult> {
  const startedAt = clock.monotonic()
  const timeout = check.timeout ?? healthCheckDefaults.timeout
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`no answer within ${timeout} ms`)
      controller.abort(error)
      reject(error)
    }, timeout)
  })
  try {
    const detail = await Promise.race([Promise.resolve().then(() => check.check(controller.signal)), late])
    const durationMs = clock.monotonic() - startedAt
    return typeof detail === 'string'
      ? { status: 'pass', detail, durationMs }
      : { status: 'pass', durationMs }
  } catch (error) {
    return {
      status: (check.critical ?? healthCheckDefaults.critical) ? 'fail' : 'warn',
      detail: reasonOf(error),
      durationMs: clock.monotonic() - startedAt,
    }
  } finally {
    clearTimeout(timer)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function summarize(results: readonly (readonly [string, CheckResult])[]): HealthReport {
  const statuses = new Set(results.map(([, result]) => result.status))
  const status = statuses.has('fail') ? 'fail' : statuses.has('warn') ? 'warn' : 'pass'
  return { status, checks: Object.fromEntries(results) }
}
