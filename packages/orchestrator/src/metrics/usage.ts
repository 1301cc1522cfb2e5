import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { statFields } from '../processes/process-identity.ts'
import { readKernelUnits } from './kernel-units.ts'

/** What a process and its descendants use. */
export interface Usage {
  /** Seconds of CPU time since they started. */
  readonly cpuSeconds: number
  /** Bytes. Memory that processes share is counted for each. */
  readonly rss: number
  /** What was counted, the process itself first. */
  readonly processes: readonly { readonly pid: number; readonly rss: number }[]
}

const { ticksPerSecond, pageSize } = readKernelUnits()

/**
 * Reads /proc. Undefined when the process is gone, or where there is no /proc. Synchronous: the kernel has these values
 * at hand, and a round through the thread pool costs more than the read.
 *
 * @param known what has been read in this round: the same process may be wanted by itself and below its parent.
 */
export function readUsage(pid: number, known: Map<number, Usage | undefined> = new Map()): Usage | undefined {
  if (known.has(pid)) return known.get(pid)
  const usage = read(pid, known)
  known.set(pid, usage)
  return usage
}

/** The same for several together: what one of them has started is counted once. */
export function readUsageOf(
  pids: readonly number[],
  known: Map<number, Usage | undefined> = new Map(),
): Usage | undefined {
  let sum: Usage | undefined
  for (const pid of pids) {
    if (sum?.processes.some((counted) => counted.pid === pid)) continue
    const usage = readUsage(pid, known)
    if (usage) sum = sum ? add(sum, usage) : usage
  }
  return sum
}

function read(pid: number, known: Map<number, Usage | undefined>): Usage | undefined {
  try {
    const fields = statFields(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    const rss = Number(fields[21]) * pageSize
    const own: Usage = {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
      rss,
      processes: [{ pid, rss }],
    }
    return childrenOf(pid).reduce<Usage>((sum, child) => {
      const below = readUsage(child, known)
      return below ? add(sum, below) : sum
    }, own)
  } catch {
    return undefined
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return text === '' ? [] : text.split(' ').map(Number)
  } catch {
    return []
  }
}

function add(a: Usage, b: Usage): Usage {
  return {
    cpuSeconds: a.cpuSeconds + b.cpuSeconds,
    rss: a.rss + b.rss,
    processes: [...a.processes, ...b.processes],
  }
}

/**
 * The proportional share of memory of a process in bytes: what it shares is divided among those who share it, so that
 * sums make sense. The kernel walks all its pages for this, which takes about a millisecond. Undefined when it is gone.
 */
export async function readShare(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  const kilobytes = /^Pss:\s+(\d+) kB/m.exec(text)?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}
