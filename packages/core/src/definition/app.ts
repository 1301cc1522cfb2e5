import type { HealthChecks } from '../lifecycle/health-checks.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import type { Logger } from '../logging/logger.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { NamedProcedure } from '../procedures/service.ts'
import type { RunningTransport, StopReason } from '../transport/transport.ts'

/** One running process of a system. */
export interface App<Services = unknown> extends AsyncDisposable {
  readonly system: { readonly name: string; readonly version: string }
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
  /** Ends the standby of an app that was started in it: it takes clients, calls and jobs when this resolves. Idempotent. */
  takeOver(): Promise<void>
  /**
   * Gives way to another generation of the process, which has taken over: its health stays as it is, and it goes on serving
   * the clients that it has until they have gone to the other one. Resolves when they have; `stop` is to follow. Idempotent.
   */
  giveWay(): Promise<void>
  /** Drains and closes everything in order. Idempotent; rejects with every failure after the stop has gone to its end. */
  stop(reason?: StopReason): Promise<void>
}
