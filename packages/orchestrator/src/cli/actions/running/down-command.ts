import { sendCommand } from '../../../control/control-client.ts'
import { isCode, OrchestratorError } from '../../../errors.ts'
import { endHeld, killSupervisor } from '../../../launch/end-held.ts'
import { readLock } from '../../../state/lock.ts'
import type { StateDirectory } from '../../../state/state-directory.ts'
import { locateState, print, type CommonOptions } from '../context.ts'

export interface DownOptions extends CommonOptions {
  /** At once, and also when the supervisor does not answer. */
  readonly force?: boolean
}

/** How long a supervisor may take to answer before it is killed, in milliseconds. */
const forceTimeout = 3_000

/** How long processes without a supervisor may take to end in an orderly way, in milliseconds. */
const grace = 10_000

/** Stops everything: in order, or at once. */
export async function down(options: DownOptions): Promise<void> {
  const state = locateState(options)
  if (options.force) {
    await downByForce(state)
    return print(options, { code: 1 }, () => 'ended by force')
  }
  const result = await sendCommand(state.root, { command: 'down' }).catch(async (error: unknown) => {
    if (!isHeld(error)) throw error
    await endHeld(state, grace)
    return { code: 0 }
  })
  print(options, result, () => 'stopped')
}

async function downByForce(state: StateDirectory): Promise<void> {
  const holder = await readLock(state.root)
  try {
    await sendCommand(state.root, { command: 'kill' }, { timeout: forceTimeout })
  } catch (error) {
    if (isHeld(error)) return endHeld(state, 0)
    if (!holder || !isCode(error, 'ERR_ORCHESTRATOR_CONTROL_FAILED')) throw error
    await killSupervisor(state, holder.pid)
  }
}

/** There is no supervisor, and what it had goes on. */
function isHeld(error: unknown): boolean {
  return error instanceof OrchestratorError && Number(error.details?.['held'] ?? 0) > 0
}
