import { rm } from 'node:fs/promises'
import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'
import type { Plan } from '../plan/plan.ts'
import { endLeftovers } from '../processes/end-leftovers.ts'
import { findMarked } from '../processes/find-processes.ts'
import { folderMark, type ProcessMark } from '../processes/process-mark.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { claimFolder } from '../state/folder-identity.ts'
import { takeLock } from '../state/lock.ts'
import { openSecrets, type Secrets } from '../state/secrets.ts'
import { clearRunDirectory, prepareStateDirectory, type StateDirectory } from '../state/state-directory.ts'
import { openKeeping, type Keeping } from './keeping.ts'

export interface FolderOptions {
  readonly plan: Plan
  readonly state: StateDirectory
  readonly env: Readonly<Record<string, string | undefined>>
  readonly onSupervisorLoss: SupervisorLossPolicy
  readonly onEvent: (event: EcosystemEvent) => void
}

/** The data folder of an ecosystem, in the hands of this supervisor alone. */
export interface OpenFolder {
  readonly keeping: Keeping
  readonly secrets: Secrets
  readonly mark: ProcessMark
}

/** How long processes of an earlier run may take to end in an orderly way, in milliseconds. */
const leftoverGrace = 10_000

/** Takes the folder, finds what goes on in it, and ends what else an earlier run has left. */
export async function openFolder(made: AsyncDisposableStack, options: FolderOptions): Promise<OpenFolder> {
  const { plan, state, env, onEvent } = options
  const tell = (message: string): void => onEvent({ type: 'progress', message })
  prepareStateDirectory(state)
  made.use(await takeLock(state.root, state.run))
  const keeping = await openKeeping(state, plan, options.onSupervisorLoss, (error) =>
    tell(
      `What is held could not be written down, and the next supervisor may start it anew: ${error.message}`,
    ),
  )
  made.defer(async () => {
    keeping.close()
    // Sockets that had to go elsewhere because the data folder's path is too long for them.
    if (!keeping.isNeeded && !state.run.startsWith(state.root))
      await rm(state.run, { recursive: true, force: true })
  })
  clearRunDirectory(state, keeping.found.processes.size > 0)
  const secrets = openSecrets(state.secretsFile)
  const attention = claimFolder(state, plan, secrets, env)
  if (attention !== undefined) tell(attention)
  const mark = folderMark(secrets.get('mark'))
  await endLeftovers(() => findMarked(mark, keeping.found.marks), {
    signal: 'SIGTERM',
    graceMs: leftoverGrace,
    onFound: (count) => tell(`Ending ${count} processes that an earlier run has left behind`),
  })
  keeping.begin()
  return { keeping, secrets, mark }
}
