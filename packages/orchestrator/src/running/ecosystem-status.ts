import type { HealthReport } from '@quintet/core'
import type { ProcessPhase } from './process-phase.ts'

/** How an ecosystem is, as plain data. Times in milliseconds since the epoch, memory in bytes. */
export interface EcosystemStatus {
  readonly project: string
  /** Of the supervisor. */
  readonly pid: number
  readonly startedAt: number
  readonly dataDirectory: string
  readonly processes: readonly ProcessStatus[]
  readonly servers: readonly ServerStatus[]
  /** Of everything together with the supervisor, as far as it was measured. */
  readonly memory: { readonly rss: number; readonly pss: number }
}

export interface ProcessStatus {
  readonly id: string
  readonly app: string
  readonly process: string
  readonly instance: number
  readonly kind: 'service' | 'task'
  readonly phase: ProcessPhase
  /** Since when it is in this phase. */
  readonly since: number
  readonly pid: number | null
  /** Since when its present child runs. */
  readonly startedAt: number | null
  /** How often it was started again after a crash. */
  readonly restarts: number
  readonly lastFailure: string | null
  /** What it waits for, in `waiting`. */
  readonly waitingFor: readonly string[]
  /** By transport. */
  readonly urls: Readonly<Record<string, string>>
  readonly health: HealthReport | null
  readonly usage: Usage | null
  /**
   * `held`: it goes on when the supervisor is killed, and its sockets stay open while it is restarted. `lost`: what held it
   * was killed, and is replaced at its next start. Null where it ends with the supervisor, or does not run.
   */
  readonly holder: 'held' | 'lost' | null
}

export interface ServerStatus {
  readonly name: 'postgres' | 'redis'
  /** `external`: run outside the ecosystem. */
  readonly source: string
  readonly port: number
  readonly pid: number | null
  readonly restarts: number
  readonly usage: Usage | null
}

export interface Usage {
  /** Percent of one CPU. */
  readonly cpu: number
  readonly rss: number
  readonly pss: number
}
