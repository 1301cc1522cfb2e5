import { OrchestratorError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import type { EcosystemFailure, EcosystemRunOptions, RunningEcosystem } from '../running/running-ecosystem.ts'
import { launchEcosystem } from './launch-ecosystem.ts'

/**
 * Starts an ecosystem under this process: servers, databases, migrations, then every process in order. Resolves
 * when all are ready.
 *
 * Whatever becomes of this process, nothing outlives it.
 *
 * @param source the ecosystem file, or the plan that `loadPlan` made of it.
 * @throws OrchestratorError or InfrastructureError when it cannot start; then nothing is left running. Naming the
 *   process that failed, why, and its last lines, when one that everything hangs on did not get ready.
 */
export async function startEcosystem(
  source: string | Plan,
  options: EcosystemRunOptions = {},
): Promise<RunningEcosystem> {
  const ecosystem = await launchEcosystem(source, options)
  try {
    await Promise.race([ecosystem.settled(options.signal), ecosystem.stopped])
    if (ecosystem.failure !== null) throw cannotStart(ecosystem, ecosystem.failure)
    return ecosystem
  } catch (error) {
    await ecosystem.stop('it could not start')
    throw error
  }
}

/** Names what failed, with the last lines that it wrote. */
function cannotStart(ecosystem: RunningEcosystem, { id, reason }: EcosystemFailure): OrchestratorError {
  const isProcess = ecosystem.plan.processes.some((each) => each.id === id)
  const lines = isProcess ? ecosystem.logs(id, 10) : []
  return new OrchestratorError([`The ecosystem could not start. ${reason}`, ...lines].join('\n'), {
    code: 'ERR_ORCHESTRATOR_START_FAILED',
    kind: 'unavailable',
  })
}
