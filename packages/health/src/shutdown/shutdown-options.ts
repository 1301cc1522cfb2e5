import { constants } from 'node:os'
import type { Duration, Logger } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { stderrLogger } from './stderr-logger.ts'

/** Something to be ended when the process stops: a pool, a worker, a connection. */
export interface ShutdownHook {
  readonly name: string
  readonly run: (signal: AbortSignal) => Promise<unknown> | unknown
  /** Its own deadline; then it counts as failed, and the next one runs. @defaultValue `'5s'` */
  readonly timeout?: Duration
}

export interface ShutdownOptions {
  /** What probes ask; not ready from the first moment. `createHealth` fits. */
  readonly health?: { stopAccepting(): void }
  /** How long to go on serving until balancers have seen that the process is not ready; `timeout` begins after it. @defaultValue 0 */
  readonly propagationDelay?: Duration
  /** How long requests in progress may take to end; WebSocket clients have a part of it, 2 s at most, to answer the close. @defaultValue `'10s'` */
  readonly drainTimeout?: Duration
  /** The whole; then the process exits with 1 and says what hung. @defaultValue `'25s'` */
  readonly timeout?: Duration
  /** Run in reverse order when all connections have ended. More can be added later. */
  readonly hooks?: readonly ShutdownHook[]
  /** @defaultValue `['SIGTERM', 'SIGINT']` */
  readonly signals?: readonly NodeJS.Signals[]
  /** Also stops, with exit code 1, on an exception or rejection that nobody caught. @defaultValue true */
  readonly crashes?: boolean
  /** @defaultValue errors go to stderr */
  readonly logger?: Logger
}

/** What applies where {@link ShutdownOptions} says nothing. */
export const shutdownDefaults = Object.freeze({
  propagationDelay: 0,
  drainTimeout: '10s',
  timeout: '25s',
  hookTimeout: '5s',
  signals: Object.freeze(['SIGTERM', 'SIGINT']) as readonly NodeJS.Signals[],
  crashes: true,
} as const)

export interface ResolvedHook {
  readonly name: string
  readonly run: (signal: AbortSignal) => Promise<unknown> | unknown
  readonly timeout: number
}

export interface ResolvedShutdown {
  readonly health: { stopAccepting(): void } | undefined
  readonly propagationDelay: number
  readonly drainTimeout: number
  readonly timeout: number
  readonly hooks: readonly ResolvedHook[]
  readonly signals: readonly NodeJS.Signals[]
  readonly crashes: boolean
  readonly logger: Logger
}

const hookSpec = {
  name: option.text(),
  run: option.function<ShutdownHook['run']>(),
  timeout: option.delay(shutdownDefaults.hookTimeout),
}

const spec = {
  health: option
    .collaborator<{ stopAccepting(): void }>(['stopAccepting'], 'health as createHealth() makes it')
    .optional(),
  propagationDelay: option.delay(shutdownDefaults.propagationDelay),
  drainTimeout: option.delay(shutdownDefaults.drainTimeout),
  timeout: option.delay(shutdownDefaults.timeout),
  hooks: option.list(option.nested(hookSpec)),
  signals: option
    .list(option.oneOf(Object.keys(constants.signals) as NodeJS.Signals[]))
    .or(shutdownDefaults.signals),
  crashes: option.boolean(shutdownDefaults.crashes),
  logger: option.logger().or(stderrLogger),
}

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveShutdownOptions(options: ShutdownOptions): ResolvedShutdown {
  return readOptions(options, spec, 'gracefulShutdown')
}

/** @throws TypeError for a hook that is none. */
export function resolveHook(hook: ShutdownHook): ResolvedHook {
  return readOptions(hook, hookSpec, 'onShutdown')
}
