import { OrchestratorError } from '../errors.ts'
import { isRunning } from '../processes/process-identity.ts'
import { readJournal } from './journal.ts'

/** How many processes and servers a journal says are held that still run, also one of which not every line can be read. */
export function countHeld(journalFile: string): number {
  const { processes, servers } = readJournal(journalFile, { lenient: true })
  const identities = [
    ...[...processes.values()].flatMap(({ generations }) =>
      [...generations.values()].map(({ identity }) => identity),
    ),
    ...[...servers.values()].map(({ identity }) => identity),
  ]
  return identities.filter((identity) => identity !== undefined && isRunning(identity)).length
}

/** There is no supervisor, and what it had goes on. */
export function supervisorGone(held: number): OrchestratorError {
  return new OrchestratorError(
    `The supervisor is gone, and ${held} of its processes and servers go on without it. "quintet up" takes them over, "quintet down" ends them.`,
    { code: 'ERR_ORCHESTRATOR_NOT_RUNNING', kind: 'not-found', details: { held } },
  )
}
