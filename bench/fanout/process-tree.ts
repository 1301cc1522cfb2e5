import { readFileSync } from 'node:fs'

const ticksPerSecond = 100

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // It has ended.
    return ''
  }
}

/** The processes and all their descendants that live now. */
export function treeOf(roots: readonly number[]): readonly number[] {
  return roots.flatMap((pid) => {
    const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)
    return [pid, ...treeOf(children)]
  })
}

/** Seconds of CPU that the processes have used, children that have ended included. */
export function cpuOf(roots: readonly number[]): number {
  return treeOf(roots).reduce((sum, pid) => {
    // After the name in brackets: utime, stime, cutime and cstime are the fields 14 to 17.
    const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? []
    const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0)
    return sum + ticks / ticksPerSecond
  }, 0)
}

/** Their proportional share of memory, in MB. */
export function memoryOf(roots: readonly number[]): number {
  return treeOf(roots).reduce((sum, pid) => {
    const [, kilobytes = '0'] = /^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`)) ?? []
    return sum + Number(kilobytes) / 1_024
  }, 0)
}
