import type { Ecosystem } from '@quintet/core/ecosystem'
import type { GatewayRouteOptions } from '@quintet/gateway'

/**
 * Everything that the supervisor needs to know, as plain data: made in a short-lived process that loads the
 * apps, read by a supervisor that does not. Durations in milliseconds, sizes in bytes, paths absolute.
 */
export interface Plan {
  readonly version: 1
  readonly project: string
  readonly configFile: string
  /** In start order. */
  readonly apps: readonly PlannedApp[]
  /** In start order; the gateway, where there is one, is the last. */
  readonly processes: readonly PlannedProcess[]
  readonly postgres: Ecosystem['infrastructure']['postgres']
  readonly redis: Ecosystem['infrastructure']['redis']
  readonly gateway: PlannedGateway | null
  readonly supervision: Ecosystem['supervision']
  readonly metrics: Ecosystem['monitoring']['metrics']
  readonly logging: Ecosystem['logging']
}

export interface PlannedApp {
  readonly name: string
  /** Null for a command. */
  readonly bootstrap: string | null
  /** What its environment variables start with, e.g. `MEDIA_`. */
  readonly prefix: string
  readonly dependsOn: readonly string[]
  /** When it fails everything is stopped, with an exit code other than 0. */
  readonly critical: boolean
  /** Under `quintet dev`: the folder whose changes restart the app, or null. */
  readonly watch: { readonly directory: string; readonly ignore: readonly string[] } | null
  readonly requires: {
    readonly postgres: boolean
    readonly redis: boolean
    readonly secrets: readonly string[]
    /** The folder with the migrations, or null. */
    readonly migrations: string | null
  }
}

export interface PlannedProcess {
  /** `media/http`; with several instances `media/image-transform.0`. */
  readonly id: string
  readonly app: string
  readonly process: string
  readonly instance: number
  /** A task runs to its end once; a service runs until it is stopped. */
  readonly kind: 'service' | 'task'
  readonly command: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** By transport name; 0 for any free one. */
  readonly ports: Readonly<Record<string, number>>
  /** Where it listens, by the names of the transports that take a socket from outside. */
  readonly addresses: Readonly<Record<string, string>>
  /** A program that is no system: it does not speak with its supervisor. */
  readonly isCommand: boolean
  /** How such a program is asked for its health. */
  readonly asked: { readonly transport: string; readonly path: string | null } | null
  /** A new generation can stand by beside the one that serves, and take its clients over. */
  readonly standby: boolean
  /** Of every group at least one must be ready (or, for a task, completed) before this one starts. */
  readonly dependsOn: readonly (readonly string[])[]
  /** These stop after this one, although this one does not wait for them when it starts. */
  readonly stopsBefore: readonly string[]
  /** Past its crash budget its app fails: the app's other processes stop in order. */
  readonly critical: boolean
  /** Past its crash budget it is started again after the longest backoff, and again: the front door must come back. */
  readonly restartsForever: boolean
  readonly startupTimeout: number
  readonly stopTimeout: number
  readonly stopPriority: number
  readonly health: false | { readonly interval: number; readonly timeout: number; readonly retries: number }
}

export interface PlannedGateway {
  readonly processId: string
  readonly routes: readonly PlannedRoute[]
  /** Under which clients know it, where the ecosystem file says so. */
  readonly publicOrigin: string | null
  /** What the preset's `config` says, handed to `createGateway`. */
  readonly config: Readonly<Record<string, unknown>>
}

/** What the ecosystem file may say of a route; the rest follows from the apps. */
export type RouteOverrides = Partial<Omit<GatewayRouteOptions, 'name' | 'path' | 'upstreams' | 'rateLimit'>>

export interface PlannedRoute extends RouteOverrides {
  readonly name: string
  readonly path: string
  readonly websocket: boolean
  /** What stands at the upstream in place of `path`. */
  readonly upstreamPath?: string
  readonly upstreams: readonly { readonly processId: string; readonly transport: string }[]
}
