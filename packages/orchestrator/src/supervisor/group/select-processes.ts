import { OrchestratorError } from '../../errors.ts'
import type { Plan } from '../../plan/plan.ts'
import { isNamed } from '../../running/is-named.ts'

/**
 * The processes of an app, the instances of a process, or one instance; a task only by its full name.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_UNKNOWN_PROCESS`
 */
export function selectProcesses({ processes }: Plan, name: string): string[] {
  const found = processes.filter(({ id, kind }) => (kind === 'task' ? id === name : isNamed(id, name)))
  if (found.length > 0) return found.map(({ id }) => id)
  const services = processes.filter(({ kind }) => kind === 'service')
  const names = [...new Set(services.flatMap(({ app, id }) => [app, id]))]
  throw new OrchestratorError(`There is no app or process "${name}". There are: ${names.join(', ')}.`, {
    code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
    kind: 'not-found',
  })
}
