import { setTimeout as delay } from 'node:timers/promises'
import { trackConnections, type AnyServer } from '@quintet/core/http'
import { within } from '@quintet/core/kit'
import { HealthError } from '../errors.ts'
import { assertServer } from './assert-server.ts'
import { joinProcessExit } from './process-exit.ts'
import {
  resolveHook,
  resolveShutdownOptions,
  type ResolvedHook,
  type ShutdownHook,
  type ShutdownOptions,
} from './shutdown-options.ts'

/** The handle of {@link gracefulShutdown}. */
export interface GracefulShutdown extends Disposable {
  /** Aborts when the shutdown begins, for work that should end by itself. */
  readonly signal: AbortSignal
  /**
   * Adds a hook; it runs before those that are there already.
   *
   * @throws TypeError for a hook that is none, and when the hooks have run already.
   */
  onShutdown(hook: ShutdownHook): void
  /**
   * Runs the shutdown without leaving the process. Idempotent.
   *
   * @throws HealthError `ERR_HEALTH_SHUTDOWN_FAILED` naming each step that failed or was not done in time.
   */
  shutdown(reason?: string): Promise<void>
}

/** Milliseconds that a connection stays open without a request, so that one that is on its way is answered. */
const idleGrace = 500

/**
 * Lets a process with servers of its own end in order on a signal. To be called before the servers listen.
 *
 * Not ready; `Connection: close` on answers; wait for the balancers; drain the owners of WebSockets; stop listening; end event streams, and WebSockets
 * with 1001; let requests in progress end; close idle connections last; run the hooks in reverse; exit with 0. Each
 * step has its deadline. When a step failed or hung, the exit code is 1 and the log names it, or stderr where there is no
 * logger; a second signal exits at once. HTTP/1.1, HTTP/2, TLS and WebSocket alike. Where it is called more than once,
 * all shutdowns run at the same time, and the process exits after the last one.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function gracefulShutdown(
  servers: AnyServer | readonly AnyServer[],
  options: ShutdownOptions = {},
): GracefulShutdown {
  const resolved = resolveShutdownOptions(options)
  const { logger } = resolved
  const connections = (
    Array.isArray(servers) ? (servers as readonly AnyServer[]) : [servers as AnyServer]
  ).map((server) => {
    assertServer(server)
    return trackConnections(server)
  })
  const hooks: ResolvedHook[] = [...resolved.hooks]
  const controller = new AbortController()
  const failures: { readonly step: string; readonly error: Error }[] = []
  let step = 'beginning'
  let running: Promise<void> | undefined
  let isOver = false

  const fail = (name: string, error: unknown): void => {
    failures.push({ step: name, error: error instanceof Error ? error : new Error(String(error)) })
  }

  const attempt = (name: string, run: () => void): void => {
    try {
      run()
    } catch (error) {
      fail(name, error)
    }
  }

  const inTime = async (
    name: string,
    timeout: number,
    work: (signal: AbortSignal) => unknown,
  ): Promise<void> => {
    step = name
    try {
      await within(timeout, work, `was not done within ${timeout} ms`)
    } catch (error) {
      fail(name, error)
    }
  }

  const run = async (reason: string): Promise<void> => {
    logger.info({ reason }, 'shutting down')
    controller.abort(new DOMException(`The process stops: ${reason}.`, 'AbortError'))
    attempt('health.stopAccepting', () => resolved.health?.stopAccepting())
    for (const each of connections) each.announceClose()
    step = 'waiting for the balancers'
    if (resolved.propagationDelay > 0) await delay(resolved.propagationDelay)
    if (resolved.sockets.length > 0) {
      await inTime('owners of WebSockets', resolved.drainTimeout / 2, (signal) =>
        Promise.all(resolved.sockets.map((owner) => owner.drain('shutdown', signal))),
      )
    }
    const grace = Math.min(idleGrace, resolved.drainTimeout / 8)
    await inTime(describeOpen(connections), resolved.drainTimeout, () =>
      Promise.all(connections.map((each) => each.drain(grace))),
    )
    for (const each of connections) each.destroy()
    for (let hook = hooks.pop(); hook !== undefined; hook = hooks.pop()) {
      await inTime(`hook ${hook.name}`, hook.timeout, hook.run)
    }
    isOver = true
    release()
    if (failures.length > 0) throw describeFailures(failures)
    logger.info({ reason }, 'shut down')
  }

  const shutdown = (reason = 'shutdown'): Promise<void> => (running ??= run(reason))

  /** Signals stay ours until the process has gone, so that one in the middle does not end it half-way. */
  const release = (): void => {
    for (const each of connections) each.release()
  }

  const membership = joinProcessExit({
    signals: resolved.signals,
    crashes: resolved.crashes,
    deadline: resolved.propagationDelay + resolved.timeout,
    logger,
    get step() {
      return step
    },
    shutdown,
  })

  return {
    signal: controller.signal,
    onShutdown(hook) {
      const resolvedHook = resolveHook(hook)
      if (isOver)
        throw new TypeError(`onShutdown: ${resolvedHook.name} comes too late, the shutdown is over.`)
      hooks.push(resolvedHook)
    },
    shutdown,
    [Symbol.dispose]() {
      release()
      membership[Symbol.dispose]()
    },
  }
}

function describeOpen(
  connections: readonly { readonly requests: number; readonly webSockets: number }[],
): string {
  const requests = connections.reduce((sum, each) => sum + each.requests, 0)
  const webSockets = connections.reduce((sum, each) => sum + each.webSockets, 0)
  return `connections (${requests} request(s), ${webSockets} WebSocket(s) at the start)`
}

function describeFailures(
  failures: readonly { readonly step: string; readonly error: Error }[],
): HealthError {
  const lines = failures.map(({ step, error }) => `- ${step}: ${error.message}`)
  return new HealthError('ERR_HEALTH_SHUTDOWN_FAILED', `The shutdown was not orderly:\n${lines.join('\n')}`, {
    steps: failures.map(({ step }) => step),
    cause: new AggregateError(
      failures.map(({ error }) => error),
      `${failures.length} step(s) failed.`,
    ),
  })
}
