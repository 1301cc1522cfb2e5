import { carriesMark } from '../processes/find-processes.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import { identify, isRunning, type ProcessIdentity } from '../processes/process-identity.ts'
import { followEvents } from './holder-events.ts'
import { openHolder, type Holder } from './holder.ts'
import type { JournaledGeneration, JournaledProcess, JournalState } from './journal.ts'

/** A process that an earlier supervisor has left in a holder. */
export interface HeldProcess {
  readonly holder: Holder
  readonly generation: JournaledGeneration
  /** Those beside it: they have given way, or had not taken over yet. */
  readonly others: readonly JournaledGeneration[]
  /** The highest number that a generation in this holder has had. */
  readonly lastNumber: number
  /** As it is written down. */
  readonly journaled: JournaledProcess
}

export interface Held {
  /** What may be taken over, by process. */
  readonly processes: ReadonlyMap<string, HeldProcess>
  /** What runs and cannot be proven to be ours: it is neither signalled nor started a second time. */
  readonly unproven: ReadonlyMap<string, ProcessIdentity>
  /** The marks of all that may be taken over. */
  readonly marks: readonly ProcessMark[]
}

/**
 * Finds what may be taken over. A process is ours when the journal, the events of its holder and the process itself agree: it
 * has the pid, the start time and the boot that are written down, and carries the mark. Whatever else is there is left to
 * be ended by its mark.
 */
export async function findHeld({ processes }: JournalState): Promise<Held> {
  const held = new Map<string, HeldProcess>()
  const unproven = new Map<string, ProcessIdentity>()
  const marks: ProcessMark[] = []
  for (const [id, journaled] of processes) {
    const { folder, identity, addresses, mark } = journaled.holder
    const generation = [...journaled.generations.values()].findLast(({ standby }) => !standby)
    if (!generation) continue
    const { pid, ended, last } = readEvents(folder, generation.generation)
    const lastNumber = Math.max(last, ...journaled.generations.keys())
    if (pid === undefined && !ended) continue
    const app = generation.identity ?? (pid === undefined ? undefined : identify(pid))
    const runs = !ended && app !== undefined && isRunning(app)
    if (runs && !(await carriesMark(app.pid, generation.mark))) {
      // It may have ended meanwhile.
      if (isRunning(app)) unproven.set(id, app)
      continue
    }
    const known = app === undefined ? generation : { ...generation, identity: app }
    const others: JournaledGeneration[] = []
    for (const each of journaled.generations.values())
      if (each !== generation && (await isOurs(each))) others.push(each)
    held.set(id, {
      holder: openHolder(folder, identity, addresses),
      generation: known,
      others,
      lastNumber,
      journaled,
    })
    marks.push(mark, ...[generation, ...others].map((each) => each.mark))
  }
  return { processes: held, unproven, marks }
}

/** It has ended, or carries its mark. One that has not said that it runs is left to be ended by its mark. */
async function isOurs({ identity, mark }: JournaledGeneration): Promise<boolean> {
  if (identity === undefined) return false
  return !isRunning(identity) || (await carriesMark(identity.pid, mark))
}

function readEvents(
  folder: string,
  wanted: number,
): { pid: number | undefined; ended: boolean; last: number } {
  let pid: number | undefined
  let last = 0
  let ended = false
  try {
    followEvents(folder, (event) => {
      if (event.type !== 'holding') last = Math.max(last, event.generation)
      if (event.type === 'started' && event.generation === wanted) ({ pid } = event)
      if (event.type === 'ended' && event.generation === wanted) ended = true
    })[Symbol.dispose]()
  } catch {
    // The folder is gone, and with it every proof.
  }
  return { pid, ended, last }
}
