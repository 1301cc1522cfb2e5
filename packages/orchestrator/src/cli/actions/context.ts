import { existsSync, realpathSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { OrchestratorError } from '../../errors.ts'
import { loadPlan } from '../../plan/load-plan.ts'
import type { Plan } from '../../plan/plan.ts'
import {
  defaultStateDirectory,
  existingStateDirectory,
  stateDirectory,
  type StateDirectory,
} from '../../state/state-directory.ts'

/** Options that every command takes. */
export interface CommonOptions {
  readonly config?: string
  readonly data?: string
  readonly json?: boolean
}

const names = ['quintet.config.ts', 'quintet.config.js', 'quintet.config.mjs']

/**
 * The ecosystem file, by the path that the shell shows: behind a link such as `current` it has one path in every release.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_CONFIG_INVALID` when there is none.
 */
export function findConfig(options: CommonOptions, env: NodeJS.ProcessEnv = process.env): string {
  const folder = shellDirectory(env)
  if (options.config !== undefined) return resolve(folder, options.config)
  const found = names.map((name) => resolve(folder, name)).find((file) => existsSync(file))
  if (found !== undefined) return found
  throw new OrchestratorError(
    `There is no ${names[0]} in ${process.cwd()}. Run in the folder that has one, or name one with --config.`,
    {
      code: 'ERR_ORCHESTRATOR_CONFIG_INVALID',
      kind: 'invalid-input',
    },
  )
}

/** The working folder as the shell knows it, links and all; `process.cwd()` has them resolved. */
function shellDirectory(env: NodeJS.ProcessEnv): string {
  const { PWD: shown } = env
  const folder = process.cwd()
  if (shown === undefined || !isAbsolute(shown)) return folder
  try {
    return realpathSync(shown) === folder ? shown : folder
  } catch {
    return folder
  }
}

export interface LoadedContext {
  readonly plan: Plan
  readonly state: StateDirectory
}

export async function loadContext(options: CommonOptions): Promise<LoadedContext> {
  const plan = await loadPlan(findConfig(options))
  return { plan, state: stateDirectory(options.data ?? defaultStateDirectory(plan.project, plan.configFile)) }
}

/**
 * Where a running ecosystem is, without evaluating its file: commands must work also while that is broken.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_NOT_RUNNING` when it has never run.
 */
export function locateState(options: CommonOptions): StateDirectory {
  const root = options.data ?? existingStateDirectory(findConfig(options))
  if (root !== undefined) return stateDirectory(root)
  throw new OrchestratorError('The ecosystem is not running, and never was. "quintet up" starts it.', {
    code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
    kind: 'not-found',
  })
}

/** Prints data as JSON where it is asked for, and else what `text` makes of it. */
export function print<T>(options: CommonOptions, data: T, text: (data: T) => string): void {
  process.stdout.write(`${options.json ? JSON.stringify(data) : text(data)}\n`)
}
