import { sendCommand } from '../../control/control-client.ts'
import { OrchestratorError } from '../../errors.ts'
import type { EcosystemStatus } from '../../running/ecosystem-status.ts'
import { isOver } from '../../running/process-phase.ts'

/** What shows that an app is serving. */
export interface Serving {
  /** Those of its processes that the supervisor of the data folder runs or is about to start, by id. */
  processes(): Promise<readonly string[]>
  /** How many connections its logins have to the database, from wherever they come. */
  sessions(): Promise<number>
}

/** An idle app has no connection, and one that runs elsewhere has no supervisor here: both are asked. */
export async function refuseWhileServing(
  what: string,
  app: string,
  options: { readonly force?: boolean },
  serving: Serving,
): Promise<void> {
  if (options.force) return
  const processes = await serving.processes()
  const sessions = await serving.sessions()
  if (processes.length === 0 && sessions === 0) return
  const signs = [
    ...(processes.length === 0 ? [] : [`its processes ${processes.join(', ')} run`]),
    ...(sessions === 0 ? [] : [`${sessions} connections to its database`]),
  ]
  throw new OrchestratorError(
    `${what}: "${app}" is serving (${signs.join('; ')}), and what it knows of its tables would be wrong. Stop it first, or say --force.`,
    { code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING', kind: 'conflict' },
  )
}

/** The processes of an app that the supervisor of a data folder runs, or is about to start. */
export async function runningProcesses(dataDirectory: string, app: string): Promise<readonly string[]> {
  const status = (await sendCommand(dataDirectory, { command: 'status' })) as EcosystemStatus
  return status.processes
    .filter((each) => each.app === app && each.kind === 'service' && !isOver(each.phase))
    .map(({ id }) => id)
}
