import { readFile, readlink, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { InfrastructureError } from '../errors.ts'

/** How long a server that is on its way out may take to let go of its data. */
const answerTimeout = 10_000

/**
 * Removes a pid file that a killed server left behind, also when another program has its pid by now. A
 * server that still works on the data is waited for, because the guardian of a killed run may be about to stop it.
 *
 * @throws InfrastructureError `ERR_INFRASTRUCTURE_DATA_DIRECTORY` when one keeps running.
 */
export async function clearStalePostmaster(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid')
  const deadline = performance.now() + answerTimeout
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => '')
    const pid = Number.parseInt(text, 10)
    if (!Number.isInteger(pid)) return
    if (!(await worksOn(pid, data))) return rm(file, { force: true })
    if (performance.now() > deadline) {
      throw new InfrastructureError(
        `The PostgreSQL data folder ${data} is in use by the server with pid ${pid}. Stop it, or choose another folder.`,
        { code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY' },
      )
    }
    await delay(25)
  }
}

/** A server's working directory is its data folder. */
async function worksOn(pid: number, data: string): Promise<boolean> {
  if (process.platform !== 'linux') return isAlive(pid)
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === data
  } catch (error) {
    // A process of another user, which may not be looked into, or none at all.
    return (error as NodeJS.ErrnoException).code === 'EACCES' && isAlive(pid)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
