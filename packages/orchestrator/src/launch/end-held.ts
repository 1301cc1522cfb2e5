import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readJournal } from '../holder/journal.ts'
import { adoptServerProcess } from '../infrastructure/server-process.ts'
import { endLeftovers } from '../processes/end-leftovers.ts'
import { findMarked } from '../processes/find-processes.ts'
import { folderMark, type ProcessMark } from '../processes/process-mark.ts'
import { identify, isRunning } from '../processes/process-identity.ts'
import { readLock, takeLock } from '../state/lock.ts'
import { openSecrets } from '../state/secrets.ts'
import type { StateDirectory } from '../state/state-directory.ts'

/** How long a server may take to end in an orderly way, in milliseconds. */
const serverGrace = 10_000

/** How long a killed supervisor may take to be gone, in milliseconds. */
const killTimeout = 10_000

/**
 * Ends what a supervisor that is gone has left running: processes first, all at once, and then the servers.
 *
 * @param graceMs until processes are killed.
 * @throws OrchestratorError `ERR_ORCHESTRATOR_ALREADY_RUNNING` when there is a supervisor.
 */
export async function endHeld(state: StateDirectory, graceMs: number): Promise<void> {
  const mark = markOf(state)
  await endReviver(mark)
  await using _lock = await takeLock(state.root, state.run)
  if (mark) await endLeftovers(() => findMarked(mark), { signal: 'SIGTERM', graceMs })
  const { servers } = readJournal(state.journalFile)
  for (const [name, { identity }] of servers) {
    const stopSignal = name === 'postgres' ? 'INT' : 'TERM'
    const logFile = join(state.root, name, `${name}.log`)
    await adoptServerProcess(identity, { logFile, stopSignal, stopTimeout: serverGrace }).stop()
  }
  rmSync(state.held, { recursive: true, force: true })
  for (const file of [state.journalFile, state.daemonFile]) rmSync(file, { force: true })
}

/** Kills a supervisor that does not answer, and ends all that it has started. */
export async function killSupervisor(state: StateDirectory, pid: number): Promise<void> {
  const identity = identify(pid)
  await endReviver(markOf(state))
  if (identity && isRunning(identity)) process.kill(pid, 'SIGKILL')
  // Its first thread may have ended while others still hold the lock.
  const deadline = performance.now() + killTimeout
  while ((await readLock(state.root)) && performance.now() < deadline) await delay(5)
  await endHeld(state, 0)
}

function markOf(state: StateDirectory): ProcessMark | undefined {
  const secret = openSecrets(state.secretsFile).find('mark')
  return secret === undefined ? undefined : folderMark(secret)
}

/** What would start the supervisor again. */
async function endReviver(mark: ProcessMark | undefined): Promise<void> {
  if (mark) await endLeftovers(() => findMarked(reviverMark(mark)), { signal: 'SIGTERM', graceMs: 0 })
}

/** The mark of what starts the supervisor of a folder again; a limit it has none. */
export function reviverMark({ variable }: ProcessMark): ProcessMark {
  return { variable: `${variable}reviver.`, limit: 'none' }
}
