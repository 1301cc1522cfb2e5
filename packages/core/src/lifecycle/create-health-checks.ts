import { within } from '../timing/within.ts'
import { systemClock, type Clock } from '../clock.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions } from '../options/read-options.ts'
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
export const healthCheckDefaults = { critical: true, timeout: 800, reportKeptFor: 1_000 } as const

const checkSpec = {
  name: option.text(),
  critical: option.boolean(healthCheckDefaults.critical),
  timeout: option.delay(healthCheckDefaults.timeout, { min: 1 }),
  check: option.function<HealthCheck['check']>(),
}

/** A check with its defaults. */
interface RegisteredCheck extends ResolvedOptions<typeof checkSpec> {
  /** A call that has not ended yet. */
  inProgress: Promise<string | void> | undefined
}

/** Makes the health of one process. */
export function createHealthChecks(options: HealthChecksOptions = {}): OwnedHealthChecks {
  const clock = options.clock ?? systemClock
  const checks = new Map<string, RegisteredCheck>()
  let started = false
  let stopping = false
  let running: Promise<HealthReport> | undefined
  let kept: { readonly report: HealthReport; readonly at: number } | undefined

  const add = (given: HealthCheck): void => {
    const check = readOptions<HealthCheck, typeof checkSpec>(given, checkSpec, 'health check')
    if (checks.has(check.name)) throw new TypeError(`health: there are two checks named "${check.name}".`)
    checks.set(check.name, { ...check, check: check.check.bind(given), inProgress: undefined })
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

async function runCheck(check: RegisteredCheck, clock: Clock): Promise<CheckResult> {
  const startedAt = clock.monotonic()
  try {
    const detail = await askInTime(check)
    const durationMs = clock.monotonic() - startedAt
    return typeof detail === 'string'
      ? { status: 'pass', detail, durationMs }
      : { status: 'pass', durationMs }
  } catch (error) {
    return {
      status: check.critical ? 'fail' : 'warn',
      detail: reasonOf(error),
      durationMs: clock.monotonic() - startedAt,
    }
  }
}

/** One call at a time: a dependency that hangs does not pile up calls, and is not waited for again. */
async function askInTime(check: RegisteredCheck): Promise<string | void> {
  if (check.inProgress) throw new Error('the check before has not ended')
  const ask = (signal: AbortSignal): Promise<string | void> => {
    const call = Promise.resolve()
      .then(() => check.check(signal))
      .finally(() => (check.inProgress = undefined))
    check.inProgress = call
    return call
  }
  return await within(check.timeout, ask, `no answer within ${check.timeout} ms`)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function summarize(results: readonly (readonly [string, CheckResult])[]): HealthReport {
  const statuses = new Set(results.map(([, result]) => result.status))
  const status = statuses.has('fail') ? 'fail' : statuses.has('warn') ? 'warn' : 'pass'
  return { status, checks: Object.fromEntries(results) }
}
