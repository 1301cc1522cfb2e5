import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'
import type { Sample } from '../metrics/sampler.ts'
import type { Plan } from '../plan/plan.ts'
import type { EcosystemEvent, RecordedEvent } from './ecosystem-events.ts'
import type { PlanChanges } from './plan-changes.ts'
import type { EcosystemStatus } from './ecosystem-status.ts'

export interface EcosystemRunOptions {
  /** Where data, logs and secrets are kept. @defaultValue a folder of the user's, by the path of the ecosystem file */
  readonly dataDirectory?: string
  /** `auto` gives every transport a free port, whatever the systems say. @defaultValue `'fixed'` */
  readonly ports?: 'fixed' | 'auto'
  /** The port of the gateway; 0 for a free one. @defaultValue what the ecosystem file says */
  readonly gatewayPort?: number
  /** What processes inherit, and where `DATABASE_URL`, `REDIS_URL` and `PATH` are read. @defaultValue `process.env` */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly onEvent?: (event: EcosystemEvent) => void
  /** Processes run under what their system says in `dev`. @defaultValue false */
  readonly dev?: boolean
  /** What becomes of processes and servers when this process is killed; `keep` is for Linux. @defaultValue `'stop'` */
  readonly onSupervisorLoss?: SupervisorLossPolicy
  /** Stops the start when it aborts. */
  readonly signal?: AbortSignal
}

/** `deployment`: new code takes the place of the running one. */
export type RestartCause = 'restart' | 'deployment'

export interface RestartOptions {
  /** What processes are told as the reason of their stop. @defaultValue `'restart'` */
  readonly cause?: RestartCause
  /** Waits no longer when it aborts; what was begun goes on. */
  readonly signal?: AbortSignal
}

export interface LogSubscription extends Disposable {
  /** Resolves when the log files have every line before the first that is called back. */
  readonly caughtUp: Promise<void>
}

/** What has become of a reload. */
export interface ReloadResult {
  /** Those whose new generation serves. */
  readonly reloaded: readonly string[]
  /** Those that were stopped and started. */
  readonly restarted: readonly string[]
  /** What comes after it was not tried. */
  readonly failed: { readonly id: string; readonly reason: string } | null
}

/** Why an ecosystem had to give up. */
export interface EcosystemFailure {
  /** Of the process, or the name of the server, that everything hangs on. */
  readonly id: string
  /** In words, with the id. */
  readonly reason: string
}

/** An ecosystem that this process runs. */
export interface RunningEcosystem extends AsyncDisposable {
  readonly plan: Plan
  readonly dataDirectory: string
  /** Of this process, which supervises. */
  readonly pid: number
  /** The gateway's, where there is one. */
  readonly gatewayUrl: string | null
  /** By process and transport: `urls['media/http'].http`. */
  readonly urls: Readonly<Record<string, Readonly<Record<string, string>>>>
  status(): Promise<EcosystemStatus>
  /** The last lines of a process, as JSON. */
  logs(id: string, count?: number): readonly string[]
  /** Calls back for every line of the processes named (an app, a process, or all) from now on. */
  follow(name: string | undefined, onLine: (id: string, line: string) => void): LogSubscription
  /** What has happened since the start, oldest first; the last thousand. */
  readonly events: readonly RecordedEvent[]
  /** Calls back for every event from now on. */
  onEvent(listener: (event: RecordedEvent) => void): Disposable
  /** Oldest first, as long as the plan's retention. */
  metrics(id: string): readonly Sample[]
  /** Restarts an app, a process or an instance, and resolves when it is settled again. */
  restart(name: string, options?: RestartOptions): Promise<readonly string[]>
  /**
   * Puts a new generation in the place of each process of an app, or of all, one instance after the other, dependencies
   * first: it takes clients over when it has started and its health is good, and then the old one gives way, and ends
   * when its clients have gone. Resolves when all have taken over, or with the first that failed, whose old generation
   * goes on. What cannot stand by (ports that are no inherited sockets, `onSupervisorLoss: 'stop'`), or does not serve, is
   * restarted.
   */
  reload(name?: string): Promise<ReloadResult>
  /**
   * What another plan would change. `quintet apply` puts it in the place of the one that runs.
   *
   * @throws OrchestratorError `ERR_ORCHESTRATOR_CONFIG_INVALID` when it cannot while everything runs.
   */
  changes(next: Plan): PlanChanges
  /** Stops processes for good, dependents first. */
  retire(ids: readonly string[]): Promise<void>
  /** Resolves when the log files have everything that has been read. */
  logged(): Promise<void>
  /** A secret by the name under which systems require it, or `operator-token` or `maintenance-token`; for the operator alone. */
  secret(name: string): string
  /** Resolves when every process is ready, has failed, or waits for one that failed. */
  settled(signal?: AbortSignal): Promise<void>
  /** Why it had to give up; null as long as it did not. */
  readonly failure: EcosystemFailure | null
  /** Resolves with the exit code when all has stopped: 0 when it was told to, 1 when it had to give up. */
  readonly stopped: Promise<number>
  /** Stops everything in order; nothing is left running. Idempotent. */
  stop(reason?: string): Promise<void>
  /** Ends everything at once. */
  kill(): Promise<void>
}
