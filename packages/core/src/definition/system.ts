import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { ConfigSource } from '../config/source.ts'
import type { AuthManager } from '../access/auth-manager.ts'
import type { Duration } from '../options/duration.ts'
import type { Hooks } from './hooks.ts'
import type { InvocationWrapper } from '../pipeline/invocation.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import type { HealthChecks } from '../lifecycle/health-checks.ts'
import type { BinaryClientLink } from '../transport/link.ts'
import type { LoggerOptions } from '../pino/logger-spec.ts'
import type { Logger, LogLevel } from '../logging/logger.ts'
import type { ProcessDefinition } from './process.ts'
import type { Transport } from '../transport/transport.ts'

export interface SetupContext<Config> {
  readonly config: Config
  readonly logger: Logger
  readonly lifecycle: Lifecycle
  /** Aborts when the process stops while it is still starting. */
  readonly signal: AbortSignal
  /** Which process of the system is being made. */
  readonly process: { readonly name: string; readonly instance: number }
  /** The link to a sibling process named in this process's `topology.access`; give it to `createClient`. */
  readonly sibling: (process: string) => BinaryClientLink
  /** The health of the process: a check that is added here counts from its start on. */
  readonly health: Pick<HealthChecks, 'add'>
}

export interface SystemOptions<Config = unknown, Services = unknown> {
  readonly name: string
  readonly version: string
  readonly config?: {
    readonly schema: StandardSchemaV1<unknown, Config>
    readonly sources?: readonly ConfigSource[]
  }
  /** Makes the services of a process. What it returns is what handlers get as `services`. */
  readonly setup?: (context: SetupContext<Config>) => Promise<Services> | Services
  /** The runtime settings of the app, which `quintet settings` shows and changes. Give the same to `createSettings`. */
  readonly settings?: {
    /** An object schema in which every setting has a default. */
    readonly schema: StandardSchemaV1
    /** @defaultValue `'default'` */
    readonly namespace?: string
  }
  /**
   * The logger of every process, each with a child of its own, or options for the one that is made (pino): its level,
   * paths to redact, a mixin, a transport. A logger that `createApp` is given wins.
   */
  readonly logger?: Logger | LoggerOptions
  readonly auth?: (services: Services, context: SetupContext<Config>) => AuthManager | Promise<AuthManager>
  /** The first one is the outermost. */
  readonly wrappers?: (services: Services, context: SetupContext<Config>) => readonly InvocationWrapper[]
  readonly processes: readonly ProcessEntry<Services>[]
  readonly hooks?: Hooks<Services>
  readonly shutdown?: ShutdownOptions
  /** What applies only under `quintet dev`. */
  readonly dev?: DevOptions
  /**
   * Environment variables of every process. Under the supervisor they win over the environment that it was started in;
   * `createApp` alone takes them where its environment does not say otherwise.
   */
  readonly env?: Readonly<Record<string, string>>
  /** What the supervisor provides and tells the app in its environment. */
  readonly requires?: RequirementOptions
}

export interface ProcessEntry<Services = unknown> {
  /** Unique in the system. */
  readonly name: string
  /** The module whose default export is the `defineProcess` value, relative to the bootstrap file; or a function that imports it. */
  readonly module: string | (() => Promise<{ readonly default: ProcessDefinition<Services> }>)
  /** The supervisor stops everything, with an exit code other than 0, when this process is past its crash budget. @defaultValue false */
  readonly critical?: boolean
  /** @defaultValue 1 */
  readonly instances?: number
  readonly transports?: Readonly<Record<string, Transport>>
  readonly topology?: TopologyOptions
  /** `false`: the supervisor does not probe it. */
  readonly health?: false | ProbeOptions
  /** The `lazy` services that must be made before the process is ready; the others are made at their first use. */
  readonly eager?: readonly (keyof NoInfer<Services> & string)[]
  /** How long it may take until it is ready. @defaultValue `'30s'` */
  readonly startupTimeout?: Duration
  /** How many calls may be in progress at once, over every way in; further ones are refused. @defaultValue 10 000 */
  readonly maxConcurrentCalls?: number
  /** Environment variables of this process; they win over those of the system. */
  readonly env?: Readonly<Record<string, string>>
  readonly hooks?: Hooks<Services>
}

export interface TopologyOptions {
  /** Siblings may call the services of this process. @defaultValue false */
  readonly expose?: boolean
  /** The siblings that this process calls. */
  readonly access?: readonly string[]
}

export interface ProbeOptions {
  /** @defaultValue `'8s'` */
  readonly interval?: Duration
  /** @defaultValue `'3s'` */
  readonly timeout?: Duration
  /** How many probes in a row must fail until the process is restarted. @defaultValue 3 */
  readonly retries?: number
}

export interface ShutdownOptions {
  /**
   * How long the process goes on serving after it has become not ready, so that balancers see it: readiness answers 503
   * and every answer carries `Connection: close`, while the sockets stay open. It comes before {@link ShutdownOptions.timeout}, not out of it.
   * @defaultValue 0
   */
  readonly propagationDelay?: Duration
  /** How long an orderly stop may take before it is forced. @defaultValue `'10s'` */
  readonly timeout?: Duration
  /** Breaks ties between apps that do not depend on each other: lower stops first. @defaultValue 0 */
  readonly priority?: number
  /** Let connections and calls in progress finish. @defaultValue true */
  readonly drainConnections?: boolean
}

export interface DevOptions {
  /** @defaultValue `'debug'` */
  readonly logLevel?: LogLevel
  /** @defaultValue true */
  readonly sourceMaps?: boolean
}

export interface RequirementOptions {
  /**
   * A database of its own, with an owner, a tenant and a system login. The app is told
   * `<PREFIX>DATABASE__URL` and `__SYSTEM_URL`; the owner's login is for migrations alone.
   */
  readonly postgres?: boolean
  /** Told as `<PREFIX>REDIS__URL`. */
  readonly redis?: boolean
  /** The folder of the app's migrations, relative to the bootstrap file; run once before any process starts. */
  readonly migrations?: string
  /**
   * Names of random secrets that the supervisor makes once and keeps, e.g. `['cnf', 'jobs']`. Apps that name the
   * same one get the same value, told as `<PREFIX>SECRETS__<NAME>` (upper case, `-` as `_`).
   */
  readonly secrets?: readonly string[]
}

/** A validated system with every default filled in. Made by `defineSystem` alone. */
export interface System<Config = unknown, Services = unknown> {
  readonly name: string
  readonly version: string
  readonly config: SystemOptions<Config, Services>['config']
  readonly setup: SystemOptions<Config, Services>['setup']
  readonly settings: { readonly schema: StandardSchemaV1; readonly namespace: string } | undefined
  readonly logger: SystemOptions['logger']
  readonly auth: SystemOptions<Config, Services>['auth']
  readonly wrappers: SystemOptions<Config, Services>['wrappers']
  readonly processes: readonly ResolvedProcess<Services>[]
  readonly hooks: Hooks<Services>
  readonly shutdown: {
    readonly propagationDelay: number
    readonly timeout: number
    readonly priority: number
    readonly drainConnections: boolean
  }
  readonly dev: { readonly logLevel: LogLevel; readonly sourceMaps: boolean }
  readonly env: Readonly<Record<string, string>>
  readonly requires: {
    readonly postgres: boolean
    readonly redis: boolean
    readonly migrations: string | undefined
    readonly secrets: readonly string[]
  }
}

export interface ResolvedProcess<Services = unknown> {
  readonly name: string
  readonly module: ProcessEntry<Services>['module']
  readonly critical: boolean
  readonly instances: number
  readonly transports: Readonly<Record<string, Transport>>
  readonly topology: { readonly expose: boolean; readonly access: readonly string[] }
  readonly health: false | ResolvedProbe
  readonly eager: readonly string[]
  readonly startupTimeout: number
  readonly maxConcurrentCalls: number
  readonly env: Readonly<Record<string, string>>
  readonly hooks: Hooks<Services>
}

export interface ResolvedProbe {
  readonly interval: number
  readonly timeout: number
  readonly retries: number
  /** False when the process says neither interval nor timeout, so that those of the ecosystem apply. */
  readonly isTimed: boolean
}
