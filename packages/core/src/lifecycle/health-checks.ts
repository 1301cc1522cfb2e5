import type { Duration } from '../options/duration.ts'

/** The answer of one check. */
export interface CheckResult {
  readonly status: 'pass' | 'warn' | 'fail'
  /** For operators, e.g. `ready`, `connect ECONNREFUSED`. */
  readonly detail?: string
  readonly durationMs: number
}

export interface HealthReport {
  readonly status: 'pass' | 'warn' | 'fail'
  readonly checks: Readonly<Record<string, CheckResult>>
}

export interface HealthCheck {
  readonly name: string
  /** A failing critical check makes the process not ready; any other one only warns. @defaultValue true */
  readonly critical?: boolean
  /** Below the timeout of the probes that ask, which is 1 s in Kubernetes. @defaultValue 800 */
  readonly timeout?: Duration
  /** Resolves when all is well, optionally with a detail; rejects with the reason otherwise. */
  check(signal: AbortSignal): Promise<string | void>
}

/** The health of one process: whether it has started, whether it takes work, and its checks. */
export interface HealthChecks {
  /** True once every transport listens and `afterStart` has run. */
  readonly started: boolean
  /** False from the moment the process begins to stop. */
  readonly accepting: boolean
  add(check: HealthCheck): void
  /** Runs the checks; single flight, and the answer is kept for one second. */
  report(): Promise<HealthReport>
}
