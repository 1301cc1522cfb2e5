import type { Duration } from '../options/duration.ts'
import type { LogLevel } from '../logging/logger.ts'
import type { Size } from '../options/size.ts'

/** Everything that runs together: the apps, what they stand on, and how they are looked after. */
export interface EcosystemOptions {
  /** Names the whole, e.g. in folders and container names. */
  readonly project: string
  readonly apps: readonly EcosystemAppOptions[]
  readonly infrastructure?: InfrastructureOptions
  readonly supervision?: SupervisionOptions
  readonly monitoring?: MonitoringOptions
  readonly logging?: LoggingOptions
}

export interface EcosystemAppOptions {
  /** Unique in the ecosystem; the same as the name of its system. */
  readonly name: string
  /** The file whose default export is the `defineSystem` value, relative to the ecosystem file. Each app has this or `command`. */
  readonly bootstrap?: string
  /**
   * A program and its arguments, for an app that is no system: an Express server, a Python worker. It runs as one process,
   * `<name>/main`, and is stopped by SIGTERM.
   */
  readonly command?: readonly string[]
  /** Of a `command`: the folder in which it runs, relative to the ecosystem file. @defaultValue the folder of the ecosystem file */
  readonly cwd?: string
  /** Of a `command`: its ports by name, 0 for a free one, e.g. `{ http: 3000 }`. It finds each in `PORT_<NAME>`, and `http`, or else the first, in `PORT`. */
  readonly ports?: Readonly<Record<string, number>>
  /** Of a `command`: how it is asked whether it is ready. `false` never asks. @defaultValue whether its first port takes connections */
  readonly health?: false | CommandHealthOptions
  /** Of a `command`: what is provided in its environment. */
  readonly requires?: CommandRequirements
  /** Past its crash budget everything is stopped, with an exit code other than 0. @defaultValue false */
  readonly critical?: boolean
  /** The apps that must be ready before this one starts. It stops before them. */
  readonly dependsOn?: readonly string[]
  /** How long each of its processes may take until it is ready. @defaultValue what the process itself says */
  readonly startupTimeout?: Duration
  /** Under `quintet dev`: restart the app when a file changes. */
  readonly watch?: WatchOptions
  /** `false` leaves the app out. @defaultValue true */
  readonly enabled?: boolean
  /** Environment variables of every process of the app; they win over those that the system declares. */
  readonly env?: Readonly<Record<string, string>>
}

export interface CommandHealthOptions {
  /** The path on its port `http` that answers a GET with 200 to 399 when it is well. @defaultValue no HTTP: a connection is enough */
  readonly http?: string
  /** @defaultValue what `monitoring.healthCheck` says */
  readonly interval?: Duration
  /** @defaultValue what `monitoring.healthCheck` says */
  readonly timeout?: Duration
  /** How many times in a row it may give no answer before it is restarted. @defaultValue 3 */
  readonly retries?: number
}

export interface CommandRequirements {
  /** A database of its own, in `<NAME>_DATABASE__URL`. @defaultValue false */
  readonly postgres?: boolean
  /** Redis, in `<NAME>_REDIS__URL`. @defaultValue false */
  readonly redis?: boolean
  /** Secrets by name, in `<NAME>_SECRETS__<SECRET>`; the same for every app that requires them. */
  readonly secrets?: readonly string[]
}

export interface WatchOptions {
  /** Relative to the ecosystem file. */
  readonly directory: string
  /** Globs beside `node_modules`, `dist`, `coverage` and dot files, which are never watched. */
  readonly ignore?: readonly string[]
}

export interface InfrastructureOptions {
  /**
   * PostgreSQL for the apps that require it. Without this a private server is started when one does;
   * `false` says that none must be started.
   */
  readonly postgres?: false | ServerOptions
  /** Redis for the apps that require it, in the same way. */
  readonly redis?: false | ServerOptions
  /** Further services by name, e.g. `gateway: { preset: 'quintet', ports: { http: 8080 } }`. */
  readonly services?: Readonly<Record<string, InfrastructureServiceOptions>>
}

export interface ServerOptions {
  /** A server that exists already; for PostgreSQL with a login that may create databases and roles. */
  readonly url?: string
  /** The port of the private server. @defaultValue a free one, which is kept */
  readonly port?: number
}

export interface InfrastructureServiceOptions {
  /** Which service it is; the orchestrator refuses presets that it does not have. */
  readonly preset: string
  /** Its ports by name, e.g. `{ http: 8080 }`. */
  readonly ports?: Readonly<Record<string, number>>
  /** What the preset takes. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string>>
}

export type RestartStrategy = 'one_for_one' | 'one_for_all' | 'rest_for_one'

/** What becomes of the processes and servers of a supervisor that is killed: they go on until the next one takes them over, or they end. */
export type SupervisorLossPolicy = 'keep' | 'stop'

export interface SupervisionOptions {
  /**
   * What is restarted when an app crashes: it alone, all apps, or it and those after it in start order.
   * @defaultValue `'one_for_one'`
   */
  readonly strategy?: RestartStrategy
  /** More crashes than this within the window, and the process has failed. @defaultValue 5 */
  readonly maxRestarts?: number
  /** @defaultValue `'60s'` */
  readonly window?: Duration
  /**
   * What becomes of everything when the supervisor is killed: `keep` lets it go on until the next supervisor takes it over, on
   * Linux; `stop` ends it. Without a word it is `keep` for `quintet up` in the background, else `stop`; `quintet dev` always stops.
   */
  readonly onSupervisorLoss?: SupervisorLossPolicy
  readonly backoff?: BackoffOptions
}

export interface BackoffOptions {
  /** `fixed` always waits `initial`. @defaultValue `'exponential'` */
  readonly type?: 'exponential' | 'fixed'
  /** @defaultValue `'1s'` */
  readonly initial?: Duration
  /** @defaultValue `'30s'` */
  readonly max?: Duration
  /** By how much each wait is longer than the one before. @defaultValue 2 */
  readonly factor?: number
}

export interface MonitoringOptions {
  /** For processes that say nothing else in their own `health`. */
  readonly healthCheck?: {
    /** @defaultValue `'8s'` */
    readonly interval?: Duration
    /** @defaultValue `'3s'` */
    readonly timeout?: Duration
  }
  readonly metrics?: {
    /** How often processes are measured. @defaultValue `'5s'` */
    readonly interval?: Duration
    /** How long measurements are kept. @defaultValue `'1h'` */
    readonly retention?: Duration
  }
}

export interface LoggingOptions {
  /** @defaultValue `'info'` */
  readonly level?: LogLevel
  /** When a log file is rotated. @defaultValue `'50mb'` */
  readonly maxSize?: Size
  /** How many files are kept, with the current one. @defaultValue 10 */
  readonly maxFiles?: number
  /** gzip rotated files. @defaultValue true */
  readonly compress?: boolean
}

/** A validated ecosystem with every default filled in; plain data that survives JSON. Durations in milliseconds, sizes in bytes. */
export interface Ecosystem {
  readonly project: string
  /** In start order. Apps with `enabled: false` are here too. */
  readonly apps: readonly EcosystemApp[]
  readonly infrastructure: {
    readonly postgres: false | EcosystemServer
    readonly redis: false | EcosystemServer
    readonly services: Readonly<Record<string, EcosystemService>>
  }
  readonly supervision: {
    readonly strategy: RestartStrategy
    readonly maxRestarts: number
    readonly window: number
    /** Null where nothing is said. */
    readonly onSupervisorLoss: SupervisorLossPolicy | null
    readonly backoff: {
      readonly type: 'exponential' | 'fixed'
      readonly initial: number
      readonly max: number
      readonly factor: number
    }
  }
  readonly monitoring: {
    readonly healthCheck: { readonly interval: number; readonly timeout: number }
    readonly metrics: { readonly interval: number; readonly retention: number }
  }
  readonly logging: {
    readonly level: LogLevel
    readonly maxSize: number
    readonly maxFiles: number
    readonly compress: boolean
  }
}

export interface EcosystemApp {
  readonly name: string
  /** Null for a command. */
  readonly bootstrap: string | null
  /** Null for a system. */
  readonly command: EcosystemCommand | null
  readonly critical: boolean
  readonly dependsOn: readonly string[]
  /** Null: what each process says. */
  readonly startupTimeout: number | null
  readonly watch: { readonly directory: string; readonly ignore: readonly string[] } | null
  readonly enabled: boolean
  readonly env: Readonly<Record<string, string>>
}

/** An app that is no system. */
export interface EcosystemCommand {
  readonly program: readonly string[]
  readonly cwd: string
  readonly ports: Readonly<Record<string, number>>
  readonly health: false | EcosystemCommandHealth
  readonly requires: {
    readonly postgres: boolean
    readonly redis: boolean
    readonly secrets: readonly string[]
  }
}

export interface EcosystemCommandHealth {
  /** Null: a connection is enough. */
  readonly http: string | null
  readonly interval: number | null
  readonly timeout: number | null
  readonly retries: number
}

/** Null for the url: a private server is started when an app requires one. Null for the port: a free one. */
export interface EcosystemServer {
  readonly url: string | null
  readonly port: number | null
}

export interface EcosystemService {
  readonly preset: string
  readonly ports: Readonly<Record<string, number>>
  readonly config: Readonly<Record<string, unknown>>
  readonly env: Readonly<Record<string, string>>
}
