import { readFile } from 'node:fs/promises'
import { statFields } from '../processes/process-identity.ts'

/** What a process and its descendants use. */
export interface Usage {
  /** Seconds of CPU time since they started. */
  readonly cpuSeconds: number
  /** Bytes. Memory that processes share is counted for each. */
  readonly rss: number
  /** Bytes. Shared memory is divided among those who share it, so that sums make sense. */
  readonly pss: number
}

/** The kernel's unit of CPU time on every Linux that Node runs on. */
const ticksPerSecond = 100

/**
 * Reads /proc. Undefined when the process is gone, or where there is no /proc.
 *
 * @param known what has been read in this round: the same process may be wanted by itself and below its parent.
 */
export function readUsage(
  pid: number,
  known: Map<number, Promise<Usage | undefined>> = new Map(),
): Promise<Usage | undefined> {
  const reading = known.get(pid) ?? read(pid, known)
  known.set(pid, reading)
  return reading
}

async function read(pid: number, known: Map<number, Promise<Usage | undefined>>): Promise<Usage | undefined> {
  try {
    const [stat, memory, children] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => ''),
    ])
    const fields = statFields(stat)
    const rss = kilobytes(memory, 'Rss') || Number(fields[21]) * 4096
    const below = await Promise.all(
      children
        .trim()
        .split(' ')
        .filter(Boolean)
        .map((child) => readUsage(Number(child), known)),
    )
    const own: Usage = {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
      rss,
      pss: kilobytes(memory, 'Pss') || rss,
    }
    return below.reduce<Usage>((sum, each) => (each ? add(sum, each) : sum), own)
  } catch {
    return undefined
  }
}

export function add(a: Usage, b: Usage): Usage {
  return { cpuSeconds: a.cpuSeconds + b.cpuSeconds, rss: a.rss + b.rss, pss: a.pss + b.pss }
}

function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024
}
