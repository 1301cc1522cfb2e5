import { readdir, readFile, readlink } from 'node:fs/promises'

/**
 * The processes that carry a mark in their environment, also those that have left the group of their parent.
 * Zombies have no environment any more and are not found.
 */
export function findMarked(mark: string): Promise<number[]> {
  return findProcesses(async (pid) => {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1')
    return environment.includes(mark)
  })
}

/** The processes of a program that work in a folder; a server's working folder is that of its data. */
export function findWorkingIn(folder: string, program: string): Promise<number[]> {
  return findProcesses(async (pid) => {
    if ((await readlink(`/proc/${pid}/cwd`)) !== folder) return false
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trimEnd() === program
  })
}

/** Those of others, which may not be looked into, do not match. */
async function findProcesses(matches: (pid: number) => Promise<boolean>): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const found: number[] = []
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    if (await matches(pid).catch(() => false)) found.push(pid)
  }
  return found
}
