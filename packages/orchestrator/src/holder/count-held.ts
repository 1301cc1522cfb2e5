import { isRunning } from '../processes/process-identity.ts'
import { readJournal } from './journal.ts'

/** How many processes and servers a journal says are held that still run. */
export function countHeld(journalFile: string): number {
  const { processes, servers } = readJournal(journalFile)
  const identities = [
    ...[...processes.values()].flatMap(({ generations }) =>
      [...generations.values()].map(({ identity }) => identity),
    ),
    ...[...servers.values()].map(({ identity }) => identity),
  ]
  return identities.filter((identity) => identity !== undefined && isRunning(identity)).length
}
