import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { OrchestratorError } from '../errors.ts'

/**
 * Writes a file of the data folder as a whole, readable by its user alone: a reader finds the old content or the new one.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY`, e.g. when the disk is full.
 */
export function replaceFile(file: string, content: string): void {
  const fresh = `${file}.new`
  try {
    writeFileSync(fresh, content, { mode: 0o600 })
    renameSync(fresh, file)
  } catch (cause) {
    rmSync(fresh, { force: true, recursive: true })
    throw new OrchestratorError(`${file} cannot be written: ${(cause as Error).message}.`, {
      code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY',
      kind: 'unavailable',
      cause,
    })
  }
}
