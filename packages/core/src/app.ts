import type { HealthChecks } from './health-checks.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Links } from './link.ts'
import type { Logger } from './logger.ts'
import type { Pipeline } from './pipeline.ts'
import type { NamedProcedure } from './service.ts'
import type { System } from './system.ts'
import type { RunningTransport, StopReason } from './transport.ts'

/** One running process of a system. */
export interface App<Services = unknown> extends AsyncDisposable {
  readonly system: System
  readonly process: string
  readonly instance: number
  readonly services: Services
  readonly config: unknown
  readonly logger: Logger
  readonly lifecycle: Lifecycle
  readonly health: HealthChecks
  readonly pipeline: Pipeline
  /** Every procedure of the process by its full name, e.g. for an in-process client. */
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  /** The running transports by name. */
  readonly transports: ReadonlyMap<string, RunningTransport>
  /** Drains and closes everything in order. Idempotent; rejects with every failure after the stop has gone to its end. */
  stop(reason?: StopReason): Promise<void>
}

export interface AppOptions {
  /** Which process of the system to run. @defaultValue the only one */
  readonly process?: string
  /** @defaultValue 0 */
  readonly instance?: number
  /** The folder against which module paths are resolved: where the bootstrap file lies. */
  readonly baseUrl?: string
  readonly logger?: Logger
  /** Where the configuration's environment variables come from. @defaultValue `process.env` */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Ports given from outside, by transport name. */
  readonly ports?: Readonly<Record<string, number>>
  /** Connects sibling processes. Without one, `topology` cannot be used. */
  readonly links?: Links
  readonly signal?: AbortSignal
}
