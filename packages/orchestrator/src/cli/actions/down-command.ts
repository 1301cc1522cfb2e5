import { sendCommand } from '../../control/control-client.ts'
import { endLeftovers } from '../../processes/end-leftovers.ts'
import { findMarked } from '../../processes/find-processes.ts'
import { folderMark } from '../../processes/process-mark.ts'
import { readLock, type LockHolder } from '../../state/lock.ts'
import { openSecrets } from '../../state/secrets.ts'
import type { StateDirectory } from '../../state/state-directory.ts'
import { locateState, print, type CommonOptions } from './context.ts'

export interface DownOptions extends CommonOptions {
  /** At once, and also when the supervisor does not answer. */
  readonly force?: boolean
}

/** How long a supervisor may take to answer before it is killed, in milliseconds. */
const forcePatience = 3_000

/** Stops everything: in order, or at once. */
export async function down(options: DownOptions): Promise<void> {
  const state = locateState(options)
  if (!options.force) {
    const result = await sendCommand(state.root, { command: 'down' })
    return print(options, result, () => 'stopped')
  }
  const holder = await readLock(state.root)
  try {
    await sendCommand(state.root, { command: 'kill' }, { patience: forcePatience })
  } catch (error) {
    if (!holder || (error as { readonly code?: unknown }).code !== 'ERR_ORCHESTRATOR_CONTROL_FAILED')
      throw error
    await killSupervisor(holder, state)
  }
  print(options, { code: 1 }, () => 'ended by force')
}

/** Its guardians end the servers; what the apps have started is known by its mark. */
async function killSupervisor({ pid }: LockHolder, state: StateDirectory): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended meanwhile.
  }
  const mark = folderMark(openSecrets(state.secretsFile).get('mark'))
  await endLeftovers(() => findMarked(mark), { signal: 'SIGTERM', graceMs: 0 })
}
