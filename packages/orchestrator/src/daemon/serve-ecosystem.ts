import { openControlServer, type HandOver } from '../control/control-server.ts'
import { launchEcosystem, type LaunchOptions } from '../launch/launch-ecosystem.ts'
import type { Plan } from '../plan/plan.ts'
import type { RunningEcosystem } from '../running/running-ecosystem.ts'
import { stateDirectory } from '../state/state-directory.ts'

export interface ServeOptions extends LaunchOptions {
  /** Stops everything in order when it aborts, as SIGTERM does. */
  readonly signal?: AbortSignal
  /** All processes have been told to start, and commands are answered. */
  /** @defaultValue it cannot be left to another supervisor */
  readonly handOver?: (ecosystem: RunningEcosystem) => HandOver
  readonly onLaunched?: (ecosystem: RunningEcosystem) => void
}

/**
 * Runs an ecosystem as the business of this process: commands are answered, SIGTERM and SIGINT stop it in
 * order, a second signal at once. Resolves with the exit code when all has stopped.
 */
export async function serveEcosystem(plan: Plan, options: ServeOptions = {}): Promise<number> {
  const starting = new AbortController()
  let ecosystem: RunningEcosystem | undefined
  let signals = 0
  const onSignal = (signal: NodeJS.Signals): void => {
    signals += 1
    if (!ecosystem) starting.abort(new Error(`It was stopped by ${signal} while it was starting.`))
    else if (signals === 1) void ecosystem.stop(signal).catch(() => undefined)
    else void ecosystem.kill().catch(() => undefined)
  }
  const onAbort = (): void => {
    const reason = options.signal?.reason as Error
    if (ecosystem) void ecosystem.stop(reason.message).catch(() => undefined)
    else starting.abort(reason)
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal)
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    ecosystem = await launchEcosystem(plan, { ...options, signal: starting.signal })
    const { run } = stateDirectory(ecosystem.dataDirectory)
    const control = await openControlServer(ecosystem, run, options.handOver?.(ecosystem))
    options.onLaunched?.(ecosystem)
    const code = await ecosystem.stopped
    await control.close()
    return code
  } finally {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.off(signal, onSignal)
    options.signal?.removeEventListener('abort', onAbort)
  }
}
