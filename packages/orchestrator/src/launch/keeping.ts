import { readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'
import { OrchestratorError } from '../errors.ts'
import { findHeld, type Held } from '../holder/find-held.ts'
import {
  openJournal,
  readJournal,
  type Journal,
  type JournaledProcess,
  type JournalState,
} from '../holder/journal.ts'
import type { Plan } from '../plan/plan.ts'
import type { ServerHold } from '../servers/servers.ts'
import { isRunning } from '../processes/process-identity.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import type { StateDirectory } from '../state/state-directory.ts'
import { createHeldProcesses, type HeldProcesses } from '../supervisor/held-processes.ts'
import { addressesOf, digestOf, startedWith, type StartInput } from './started-with.ts'
import type { AdoptedProcess } from '../supervisor/supervised-process.ts'

export interface KeptOptions extends StartInput {
  readonly mark: () => ProcessMark
}

export interface Kept extends HeldProcesses {
  readonly adopted: ReadonlyMap<string, AdoptedProcess>
}

/** What goes on without its supervisor: what the one before has left, and how this one leaves its own. */
export interface Keeping {
  readonly policy: SupervisorLossPolicy
  readonly found: Held
  /** The ports of what was found, by process. */
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  /** What was left and is not found has ended: its files are removed, and what happens from now on is written down. */
  begin(): void
  /** Undefined where servers end with their supervisor. */
  readonly servers: ServerHold | undefined
  /** Undefined where processes end with their supervisor. */
  open(options: KeptOptions): Kept | undefined
  /** All of it has stopped in order. */
  finish(): void
  /** Something goes on, and needs its files and servers. */
  readonly isNeeded: boolean
  close(): void
}

/** Only for the holder of the lock. What is found and is no part of the plan any more is left to be ended. */
export async function openKeeping(
  state: StateDirectory,
  plan: Plan,
  policy: SupervisorLossPolicy,
  onProblem: (error: Error) => void,
): Promise<Keeping> {
  if (policy === 'keep' && process.platform !== 'linux')
    throw new OrchestratorError(
      "onSupervisorLoss: 'keep' needs Linux: elsewhere a process cannot be proven to be the one that was started. Say 'stop'.",
      { code: 'ERR_ORCHESTRATOR_CONFIG_INVALID', kind: 'invalid-input' },
    )
  const planned = new Set(plan.processes.map(({ id }) => id))
  const journaled = readJournal(state.journalFile)
  for (const id of journaled.processes.keys()) if (!planned.has(id)) journaled.processes.delete(id)
  const found = await findHeld(policy === 'keep' ? journaled : { processes: new Map(), servers: new Map() })
  let journal: Journal | undefined
  let finished = false
  const isNeeded = (): boolean => !finished && found.processes.size + found.unproven.size > 0

  function begin(): void {
    const doubtful = doubtfulOf(journaled, found)
    removeFolders(state, [
      ...[...found.processes.values()].map((each) => each.journaled),
      ...doubtful.values(),
    ])
    if (policy === 'stop') return rmSync(state.journalFile, { force: true })
    // The next supervisor must not start what is doubtful a second time either.
    const processes = new Map(doubtful)
    for (const [id, { journaled: entry, generation, others }] of found.processes) {
      const generations = [...others, generation].toSorted((a, b) => a.generation - b.generation)
      processes.set(id, {
        ...entry,
        generations: new Map(generations.map((each) => [each.generation, each])),
      })
    }
    journal = openJournal(state.journalFile, { processes, servers: journaled.servers }, onProblem)
  }

  return {
    policy,
    found,
    ports: new Map([...found.processes].map(([id, { generation }]) => [id, generation.ports])),
    begin,
    servers:
      policy === 'stop'
        ? undefined
        : {
            found: (name) => journaled.servers.get(name),
            started: (name, server) => journal?.append({ type: 'server', name, ...server }),
            ended: (name) => journal?.append({ type: 'server-ended', name }),
          },
    open: (options) => journal && openKept(state, found, journal, options),
    finish() {
      finished = true
    },
    get isNeeded() {
      return isNeeded()
    },
    close() {
      if (isNeeded()) return
      const doubtful = doubtfulOf(journaled, found)
      removeFolders(state, doubtful.values())
      if (doubtful.size > 0) {
        openJournal(state.journalFile, { processes: doubtful, servers: new Map() }, onProblem)
        return rmSync(state.daemonFile, { force: true })
      }
      rmSync(state.held, { recursive: true, force: true })
      for (const file of [state.journalFile, state.daemonFile]) rmSync(file, { force: true })
    },
  }
}

/** What runs and cannot be proven to be ours. */
function doubtfulOf({ processes }: JournalState, { unproven }: Held): Map<string, JournaledProcess> {
  return new Map(
    [...unproven].flatMap(([id, identity]) => {
      const entry = processes.get(id)
      return entry && isRunning(identity) ? [[id, entry] as const] : []
    }),
  )
}

/** Removes the folders of holders that are gone. */
function removeFolders({ held }: StateDirectory, needed: Iterable<JournaledProcess>): void {
  const used = new Set([...needed].map(({ holder }) => basename(holder.folder)))
  let names: string[] = []
  try {
    names = readdirSync(held)
  } catch {
    // Nothing was held yet.
  }
  for (const name of names) if (!used.has(name)) rmSync(join(held, name), { recursive: true, force: true })
}

function openKept(state: StateDirectory, found: Held, journal: Journal, options: KeptOptions): Kept {
  const { ports } = options
  const digest = (id: string): string => digestOf(startedWith(id, options))
  const held = createHeldProcesses({
    folder: state.held,
    journal,
    held: found,
    mark: options.mark,
    ports: (id) => ports.get(id) ?? {},
    addresses: (id) => addressesOf(id, options),
    digest,
  })
  const adopted = new Map<string, AdoptedProcess>()
  for (const [id, { generation, others, lastNumber }] of found.processes) {
    adopted.set(id, {
      ...generation,
      others,
      lastNumber,
      isStale: generation.digest !== digest(id),
      attach: held.adopt,
    })
  }
  return { ...held, adopted }
}
