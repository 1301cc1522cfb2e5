import { spawn } from 'node:child_process'
import { flushCompileCache } from 'node:module'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { binPath, withCompileCache } from '../bin-path.ts'
import { loadSystem } from '../plan/load-system.ts'
import type { Plan } from '../plan/plan.ts'

/**
 * Loads what the processes of a plan will load, once, in a process that ends: they then find it compiled, and none
 * of them loads the compiler, which would cost each some 25 MB for as long as it runs.
 *
 * What cannot be loaded is passed over here; the process whose module it is will say so.
 */
export async function compilePlan(plan: Plan, env: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<void> {
  const services = plan.processes.filter(({ kind, command }) => kind === 'service' && command[1] === binPath)
  const bootstraps = [...new Set(services.map(({ command }) => command[3] ?? ''))]
  const child = spawn(process.execPath, [binPath, '@compile', ...bootstraps], {
    stdio: 'ignore',
    timeout: 60_000,
    killSignal: 'SIGKILL',
    env: withCompileCache(env),
    ...(signal ? { signal } : {}),
  })
  await new Promise<void>((done) => {
    child.once('error', () => done())
    child.once('close', () => done())
  })
}

/** The body of that process. */
export async function compile(bootstraps: readonly string[]): Promise<never> {
  await Promise.allSettled([import('./run.ts'), ...bootstraps.map(loadProcesses)])
  flushCompileCache()
  // Modules may have opened what keeps a process alive.
  process.exit(0)
}

async function loadProcesses(bootstrap: string): Promise<void> {
  const system = await loadSystem(bootstrap, 'compile')
  await Promise.allSettled(
    system.processes.map(({ module }) =>
      typeof module === 'string' ? import(pathToFileURL(resolve(dirname(bootstrap), module)).href) : module(),
    ),
  )
}
