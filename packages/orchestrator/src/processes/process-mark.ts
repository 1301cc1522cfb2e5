import { createHash, randomInt } from 'node:crypto'

/**
 * What a process, and everything that it starts, is known by wherever it goes: a variable in the environment, and a soft limit on
 * file locks, which Linux hands down, shows in `/proc/<pid>/limits` and does not enforce. A process that leaves its group and its
 * parent and clears its environment keeps the limit.
 *
 * The marks of a folder, of one of its runs and of one of its children begin alike, so that each finds all below it.
 */
export interface ProcessMark {
  /** The beginning of the value of `QUINTET_MARK`. */
  readonly variable: string
  /** The first digits of the limit. */
  readonly limit: string
}

/** How many digits a whole limit has: what fits into 63 bits. */
const limitDigits = 18
const childDigits = 6

export const markVariable = 'QUINTET_MARK'

/** The mark of everything that belongs to a data folder. */
export function folderMark(secret: string): ProcessMark {
  const hash = createHash('sha256').update(secret).digest().readUInt32BE(0)
  return { variable: `${secret}.`, limit: String(1_000_000 + (hash % 9_000_000)) }
}

/** The mark of one run of the supervisor of a folder. */
export function runMark(folder: ProcessMark): ProcessMark {
  const run = String(randomInt(100_000)).padStart(5, '0')
  return { variable: `${folder.variable}${run}.`, limit: `${folder.limit}${run}` }
}

/** The mark of one child of a run. */
export function childMark(run: ProcessMark, number: number): ProcessMark {
  const child = String(number % 10 ** childDigits).padStart(childDigits, '0')
  return { variable: `${run.variable}${child}.`, limit: `${run.limit}${child}` }
}

/** Whether `/proc/<pid>/limits` has the mark. */
export function hasLimit(limits: string, { limit }: ProcessMark): boolean {
  const found = /^Max file locks +(\d+) /m.exec(limits)?.[1]
  return found?.length === limitDigits && found.startsWith(limit)
}

/** The same for `grep -E`. */
export function limitPattern({ limit }: ProcessMark): string {
  return `^Max file locks +${limit}[0-9]{${limitDigits - limit.length}} `
}

/** Shells name the limit differently; one that is lower already stays as it is. */
const setLimit = '{ ulimit -S -w "$1" || ulimit -S -x "$1"; } 2>/dev/null; shift; exec "$@"'

/** A command that carries the mark of a child; its environment must have the variable. */
export function markedCommand(command: readonly string[], { limit }: ProcessMark): readonly string[] {
  return process.platform === 'linux' ? ['/bin/sh', '-c', setLimit, 'sh', limit, ...command] : command
}
