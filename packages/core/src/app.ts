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
  /** Where each value of the configuration came from, see `describeConfig`. */
  readonly configOrigins: ReadonlyMap<string, string>
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
  /** The folder against which module and configuration paths are resolved: where the bootstrap file lies. @defaultValue the working directory */
  readonly baseUrl?: string
  readonly logger?: Logger
  /** Where the configuration's environment variables come from. They win over the `env` that the system declares. @defaultValue `process.env` */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Ports given from outside, by the transport's key in the process entry. */
  readonly ports?: Readonly<Record<string, number>>
  /** Connects sibling processes. Without one, `topology` cannot be used. */
  readonly links?: Links
  /** Apply what the system declares under `dev`. @defaultValue false */
  readonly dev?: boolean
  /** Cancels a start that is not finished. */
  readonly signal?: AbortSignal
}
