import { isCode, OrchestratorError } from '../../../errors.ts'
import { loadPlan } from '../../../plan/load-plan.ts'
import { isNamed } from '../../../running/is-named.ts'
import { findConfig, type CommonOptions } from '../context.ts'

/**
 * A name that what runs does not know may stand in the ecosystem file by now: then the error says so.
 *
 * @param work a command about an app or a process that runs.
 */
export async function explainUnknown<T>(name: string, options: CommonOptions, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!isCode(error, 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS') || !(await isPlanned(name, options))) throw error
    throw new OrchestratorError(
      `"${name}" does not run: the ecosystem file has changed since everything was started, and has it now. "quintet apply" starts it.`,
      { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found', cause: error },
    )
  }
}

async function isPlanned(name: string, options: CommonOptions): Promise<boolean> {
  try {
    const { processes } = await loadPlan(findConfig(options))
    return processes.some(({ id }) => isNamed(id, name))
  } catch {
    // The file is broken, which is not what was asked.
    return false
  }
}
