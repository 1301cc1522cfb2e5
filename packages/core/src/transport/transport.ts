import type { HealthChecks } from '../lifecycle/health-checks.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import type { Logger } from '../logging/logger.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { Route } from '../procedures/route.ts'
import type { NamedProcedure } from '../procedures/service.ts'

/** What a process offers to a transport: the pipeline, and every way in that it may open. */
export interface TransportHost {
  readonly system: { readonly name: string; readonly version: string }
  readonly process: string
  /** Counts the instances of the process from 0. */
  readonly instance: number
  readonly pipeline: Pipeline
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly routes: readonly Route[]
  /** What `setup` returned. Handed to handlers, never inspected. */
  readonly services: unknown
  readonly health: HealthChecks
  readonly lifecycle: Lifecycle
  readonly logger: Logger
  /** The port given from outside for this transport (by the supervisor or a test), if any. */
  readonly port: number | undefined
  /** The listening socket given from outside for this transport, as a file descriptor, if any. It goes before a port. */
  readonly socket: number | undefined
  /**
   * The path of a unix socket on which to listen alone until `takeOver`: another generation of the process serves. Only for
   * transports that say `standby`.
   */
  readonly standby: string | undefined
}

/**
 * One set of ways into a process: HTTP, WebSocket, a link, a queue worker. Core knows only this port;
 * the packages make the values.
 */
export interface Transport {
  /** Unique in its process, e.g. `http`. */
  readonly name: string
  /** The port it takes when none is given from outside, for the supervisor's plan; undefined for a worker, 0 for any free one. */
  readonly port?: number
  /** The address it listens on, where it also takes a listening socket from outside (`TransportHost.socket`); undefined for one that does not. */
  readonly address?: string
  /** It can stand by: listen where no client comes, while another generation of its process serves, until it takes over. */
  readonly standby?: boolean
  /** Where it takes WebSocket upgrades, and whether it speaks nothing else; for the routes of a gateway. Undefined for nowhere. */
  readonly webSocket?: { readonly path: string; readonly only: boolean }
  /** The ways in beyond procedures and routes that it opens itself (channels, jobs), for `quintet routes`. */
  readonly operations?: readonly Operation[]
  start(host: TransportHost): Promise<RunningTransport>
}

export interface RunningTransport {
  /** Where it can be reached, e.g. `http://127.0.0.1:3002`; undefined for a worker. */
  readonly url: string | undefined
  /** Accepts clients from now on, beside or in place of the generation before. Only after a start with `TransportHost.standby`. */
  takeOver?(): Promise<void>
  /**
   * Gives way to another generation of the process, which has taken over its address: accepts no new client, and goes on
   * serving on the connections that it has, none of which it closes before it has told its client. Resolves when none is
   * left, or none that is worth waiting for. `drain` follows, and may be called before that.
   */
  giveWay?(reason: StopReason, signal: AbortSignal): Promise<void>
  /**
   * The process is not ready any more and will drain later: goes on serving, but tells clients not to keep their
   * connection (`Connection: close`, GOAWAY) and takes up no long work. Called before `drain`, where there is time.
   */
  announceStop?(reason: StopReason): void
  /**
   * Accepts nothing new, tells its clients, and resolves when what it had in progress is done. When the signal aborts it
   * gives up within a second: with `'handed-over'` when what was left goes on elsewhere, such as a job that went back
   * to its queue, and with undefined when it was broken off. One without `giveWay` is drained when its process gives way,
   * and again when it stops.
   */
  drain(reason: StopReason, signal: AbortSignal): Promise<void | 'handed-over'>
  /** Releases everything at once. */
  close(): Promise<void>
}

/** Why a process stops; told to WebSocket clients. */
export type StopReason = 'deployment' | 'restart' | 'shutdown' | 'failure'
