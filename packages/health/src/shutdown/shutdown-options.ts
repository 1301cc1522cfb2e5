import { constants } from 'node:os'
import type { Duration, Logger, StopReason } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { stderrLogger } from './stderr-logger.ts'

/** Something to be ended when the process stops: a pool, a worker, a connection. */
export interface ShutdownHook {
  readonly name: string
  readonly run: (signal: AbortSignal) => Promise<unknown> | unknown
  /** Its own deadline; then it counts as failed, and the next one runs. @defaultValue `'5s'` */
  readonly timeout?: Duration
}

/** What holds WebSocket connections and can end them in order. */
export interface SocketOwner {
  /** Tells the clients, and resolves when their connections are closed or the signal aborts. */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
}

export interface ShutdownOptions {
  /** What probes ask; not ready from the first moment. `createHealth` fits. */
  readonly health?: { stopAccepting(): void }
  /** How long to go on serving until balancers have seen that the process is not ready; `timeout` begins after it. @defaultValue 0 */
  readonly propagationDelay?: Duration
  /** How long requests in progress may take to end; WebSocket clients have a part of it, 2 s at most, to answer the close. @defaultValue `'10s'` */
  readonly drainTimeout?: Duration
  /**
   * Owners of WebSockets that tell their clients in their own words, e.g. a hub of `@quintet/realtime`. Drained before
   * the connections are closed, within half of `drainTimeout`.
   */
  readonly sockets?: readonly SocketOwner[]
  /** The whole; then the process exits with 1 and says what hung. @defaultValue `'25s'` */
  readonly timeout?: Duration
  /** Run in reverse order when all connections have ended. More can be added later. */
  readonly hooks?: readonly ShutdownHook[]
  /** @defaultValue `['SIGTERM', 'SIGINT']` */
  readonly signals?: readonly NodeJS.Signals[]
  /** Also stops, with exit code 1, on an uncaught exception and an unhandled rejection. @defaultValue true */
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
  readonly sockets: readonly SocketOwner[]
  readonly hooks: readonly ResolvedHook[]
  readonly signals: readonly NodeJS.Signals[]
  readonly crashes: boolean
  readonly logger: Logger
}

/** Nothing can be run on SIGKILL and SIGSTOP. */
const catchableSignals = (Object.keys(constants.signals) as NodeJS.Signals[]).filter(
  (signal): boolean => signal !== 'SIGKILL' && signal !== 'SIGSTOP',
)

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
  sockets: option.list(option.collaborator<SocketOwner>(['drain'], 'an owner of WebSockets with drain()')),
  hooks: option.list(option.nested(hookSpec)),
  signals: option.list(option.oneOf(catchableSignals)).or(shutdownDefaults.signals),
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
