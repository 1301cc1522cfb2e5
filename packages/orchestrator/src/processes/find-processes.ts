import { readdir, readFile, readlink } from 'node:fs/promises'
import { statFields } from './process-identity.ts'
import { hasLimit, markVariable, type ProcessMark } from './process-mark.ts'

/**
 * The processes that carry a mark, wherever they have gone; not those that have ended and were not waited for (zombies), and
 * not those that carry one of the marks in `except`.
 */
export function findMarked(mark: ProcessMark, except: readonly ProcessMark[] = []): Promise<number[]> {
  return findProcesses(async (pid) => {
    const found = await readMarks(pid)
    return isMarked(found, mark) && !except.some((other) => isMarked(found, other)) && !(await isZombie(pid))
  })
}

/** Whether a process carries a mark; false for one that may not be looked into. */
export async function carriesMark(pid: number, mark: ProcessMark): Promise<boolean> {
  return readMarks(pid).then(
    (found) => isMarked(found, mark),
    () => false,
  )
}

interface FoundMarks {
  readonly limits: string
  readonly environment: string
}

async function readMarks(pid: number): Promise<FoundMarks> {
  return {
    limits: await readFile(`/proc/${pid}/limits`, 'latin1'),
    environment: await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => ''),
  }
}

function isMarked({ limits, environment }: FoundMarks, mark: ProcessMark): boolean {
  return hasLimit(limits, mark) || environment.includes(`${markVariable}=${mark.variable}`)
}

async function isZombie(pid: number): Promise<boolean> {
  return statFields(await readFile(`/proc/${pid}/stat`, 'utf8'))[0] === 'Z'
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
