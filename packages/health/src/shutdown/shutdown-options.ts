import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'

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
  /** How long requests in progress and WebSocket clients may take to end. @defaultValue `'10s'` */
  readonly drainTimeout?: Duration
  /** The whole; then the process exits with 1 and says what hung. @defaultValue `'25s'` */
  readonly timeout?: Duration
  /** Run in reverse order when all connections have ended. More can be added later. */
  readonly hooks?: readonly ShutdownHook[]
  /** @defaultValue `['SIGTERM', 'SIGINT']` */
  readonly signals?: readonly NodeJS.Signals[]
  /** Also stops, with exit code 1, on an exception or rejection that nobody caught. @defaultValue true */
  readonly crashes?: boolean
  /** @defaultValue silent */
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

const knownKeys = [
  'health',
  'propagationDelay',
  'drainTimeout',
  'timeout',
  'hooks',
  'signals',
  'crashes',
  'logger',
]

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveShutdownOptions(options: ShutdownOptions): ResolvedShutdown {
  const path = 'gracefulShutdown'
  refuseUnknownKeys(options, knownKeys, path)
  const duration = (key: 'propagationDelay' | 'drainTimeout' | 'timeout'): number =>
    parseDuration(options[key] ?? shutdownDefaults[key], `${path}.${key}`)
  const timeout = duration('timeout')
  const propagationDelay = duration('propagationDelay')
  return {
    health: options.health,
    propagationDelay,
    drainTimeout: duration('drainTimeout'),
    timeout,
    hooks: (options.hooks ?? []).map(resolveHook),
    signals: options.signals ?? shutdownDefaults.signals,
    crashes: options.crashes ?? shutdownDefaults.crashes,
    logger: options.logger ?? silentLogger,
  }
}

/** @throws TypeError for a hook that is none. */
export function resolveHook(hook: ShutdownHook): ResolvedHook {
  refuseUnknownKeys(hook, ['name', 'run', 'timeout'], 'shutdown hook')
  if (typeof hook.name !== 'string' || hook.name === '') throw new TypeError('shutdown hook: needs a name.')
  if (typeof hook.run !== 'function')
    throw new TypeError(`shutdown hook ${hook.name}: needs a function to run.`)
  const timeout = parseDuration(
    hook.timeout ?? shutdownDefaults.hookTimeout,
    `shutdown hook ${hook.name}: timeout`,
  )
  return { name: hook.name, run: hook.run, timeout }
}
