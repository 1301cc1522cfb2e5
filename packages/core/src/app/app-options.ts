import type { Links } from '../transport/link.ts'
import type { Duration } from '../options/duration.ts'
import type { Logger } from '../logging/logger.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'

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
  /** Listening sockets given from outside, as file descriptors by the transport's key; they go before `ports`. */
  readonly sockets?: Readonly<Record<string, number>>
  /**
   * Stand by: start everything, but accept no client, call or job until `takeOver()`. Transports that can listen on unix
   * sockets meanwhile, so that they can be probed: this path, then `.<transport>.sock`.
   * @defaultValue it takes clients at once
   */
  readonly standby?: string
  /** Connects sibling processes. Without one, `topology` cannot be used. */
  readonly links?: Links
  /** Apply what the system declares under `dev`. @defaultValue false */
  readonly dev?: boolean
  /** How long the start may take, in place of what the process entry says. */
  readonly startupTimeout?: Duration
  /** Cancels a start that is not finished. */
  readonly signal?: AbortSignal
}

/** How {@link AppOptions} are read. */
export const appSpec = {
  process: option.text().optional(),
  instance: option.count(0),
  baseUrl: option.text().optional(),
  logger: option.collaborator<Logger>(['debug', 'info', 'warn', 'error', 'child'], 'a logger').optional(),
  env: option.collaborator<NonNullable<AppOptions['env']>>([], 'environment variables').optional(),
  ports: option.record(option.port()),
  sockets: option.record(option.descriptor()),
  standby: option.text().optional(),
  links: option.collaborator<Links>(['expose', 'connect'], 'links').optional(),
  dev: option.boolean(false),
  startupTimeout: option.delay().optional(),
  signal: option.signal(),
}

export type ResolvedAppOptions = ResolvedOptions<typeof appSpec>
