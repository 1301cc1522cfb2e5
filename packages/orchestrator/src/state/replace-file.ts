import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { OrchestratorError } from '../errors.ts'

/**
 * Writes a file of the data folder as a whole, readable by its user alone: a reader finds the old content or the new one,
 * also after a power failure.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY`, e.g. when the disk is full.
 */
export function replaceFile(file: string, content: string): void {
  const fresh = `${file}.new`
  try {
    writeDurably(fresh, 'w', content)
    renameSync(fresh, file)
    syncFolder(dirname(file))
  } catch (cause) {
    rmSync(fresh, { force: true, recursive: true })
    throw new OrchestratorError(`${file} cannot be written: ${(cause as Error).message}.`, {
      code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY',
      kind: 'unavailable',
      cause,
    })
  }
}

/** Writes to a file and waits until the disk has it. What cannot be written whole, as on a full disk, is not there at all. */
export function writeDurably(file: string, flags: 'w' | 'a', content: string): void {
  const fd = openSync(file, flags, 0o600)
  try {
    const { size } = fstatSync(fd)
    try {
      writeFileSync(fd, content)
      fsyncSync(fd)
    } catch (error) {
      ftruncateSync(fd, size)
      throw error
    }
  } finally {
    closeSync(fd)
  }
}

/** A rename is on the disk when its folder is. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } catch (error) {
    // Some network file systems sync files alone.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  } finally {
    closeSync(fd)
  }
}
