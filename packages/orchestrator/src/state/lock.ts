import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { identify, isRunning, type ProcessIdentity } from '../supervisor/process-identity.ts'

/** Held by the one supervisor of an ecosystem. */
export interface Lock extends Disposable {
  release(): void
}

/**
 * Takes the lock of a run folder; one that a supervisor left which is gone is taken over.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_ALREADY_RUNNING` naming who holds it.
 */
export function takeLock(folder: string): Lock {
  const file = join(folder, 'lock.json')
  const own = JSON.stringify(identify(process.pid))
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      writeFileSync(file, own, { flag: 'wx', mode: 0o600 })
      const release = (): void => rmSync(file, { force: true })
      return { release, [Symbol.dispose]: release }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const holder = readLock(folder)
      if (holder) {
        throw new OrchestratorError(
          `The ecosystem is running already (pid ${holder.pid}). See "quintet status"; "quintet down" stops it.`,
          { code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING', kind: 'conflict' },
        )
      }
      rmSync(file, { force: true })
    }
  }
  throw new OrchestratorError(
    `The lock ${file} cannot be taken: others take it at the same time. Try again.`,
    {
      code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING',
      kind: 'conflict',
    },
  )
}

/** The supervisor that runs, if one does. */
export function readLock(folder: string): ProcessIdentity | undefined {
  try {
    const holder = JSON.parse(readFileSync(join(folder, 'lock.json'), 'utf8')) as ProcessIdentity
    return isRunning(holder) ? holder : undefined
  } catch {
    return undefined
  }
}
