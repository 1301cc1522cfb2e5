import { openProcessLog, type ProcessLog } from '../logs/process-log.ts'
import type { Plan } from '../plan/plan.ts'
import { logFile, type StateDirectory } from '../state/state-directory.ts'

/** Opens the log of each process, by its id. */
export async function openLogs(plan: Plan, state: StateDirectory): Promise<Map<string, ProcessLog>> {
  const { maxSize, maxFiles, compress } = plan.logging
  const opened = plan.processes.map(async ({ id }): Promise<[string, ProcessLog]> => {
    const file = logFile(state, id)
    return [id, await openProcessLog({ file, maxSize, maxFiles, compress, now: Date.now })]
  })
  return new Map(await Promise.all(opened))
}
