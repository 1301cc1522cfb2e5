import { readUsage } from './usage.ts'

export interface SamplerOptions {
  /** Milliseconds. */
  readonly interval: number
  /** Milliseconds. */
  readonly retention: number
  /** Pids of what to measure now, by name. */
  readonly targets: () => ReadonlyMap<string, number>
}

export interface Sample {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Share of one CPU, in percent. */
  readonly cpu: number
  /** Bytes. */
  readonly rss: number
  /** Bytes. */
  readonly pss: number
}

/** Measures processes again and again, and keeps what it measured for a while. */
export interface Sampler {
  latest(name: string): Sample | undefined
  /** Oldest first; no longer than the retention. */
  history(name: string): readonly Sample[]
  /** Measures now. */
  sample(): Promise<void>
  close(): void
}

interface Track {
  readonly samples: SampleRing
  pid: number
  cpuSeconds: number
  measuredAt: number
}

export function createSampler(options: SamplerOptions): Sampler {
  const capacity = Math.max(1, Math.floor(options.retention / options.interval))
  const tracks = new Map<string, Track>()

  async function sample(): Promise<void> {
    const targets = [...options.targets()]
    const known: Parameters<typeof readUsage>[1] = new Map()
    await Promise.all(targets.map(([name, pid]) => measure(name, pid, known)))
  }

  async function measure(name: string, pid: number, known: Parameters<typeof readUsage>[1]): Promise<void> {
    const usage = await readUsage(pid, known)
    if (!usage) return
    let track = tracks.get(name)
    if (!track)
      tracks.set(name, (track = { samples: createRing(capacity), pid: 0, cpuSeconds: 0, measuredAt: 0 }))
    const now = performance.now()
    const elapsed = (now - track.measuredAt) / 1_000
    // A new child starts from nothing; what the one before it used is over.
    const used = track.pid === pid ? usage.cpuSeconds - track.cpuSeconds : 0
    Object.assign(track, { pid, cpuSeconds: usage.cpuSeconds, measuredAt: now })
    track.samples.push({
      at: Date.now(),
      cpu: elapsed > 0 ? Math.max(0, (used / elapsed) * 100) : 0,
      rss: usage.rss,
      pss: usage.pss,
    })
  }

  let measuring = false
  const timer = setInterval(() => {
    if (measuring) return
    measuring = true
    void sample().finally(() => {
      measuring = false
    })
  }, options.interval)
  timer.unref()

  return {
    latest: (name) => tracks.get(name)?.samples.all().at(-1),
    history: (name) => tracks.get(name)?.samples.all() ?? [],
    sample,
    close: () => clearInterval(timer),
  }
}

interface SampleRing {
  push(sample: Sample): void
  all(): Sample[]
}

const fields = 4

/** Numbers in one block of memory, so that hours of samples stay small. */
function createRing(capacity: number): SampleRing {
  const values = new Float64Array(capacity * fields)
  let count = 0
  return {
    push({ at, cpu, rss, pss }) {
      values.set([at, cpu, rss, pss], (count % capacity) * fields)
      count += 1
    },
    all() {
      const kept = Math.min(count, capacity)
      return Array.from({ length: kept }, (_, index) => {
        const [at = 0, cpu = 0, rss = 0, pss = 0] = values.subarray(
          ((count - kept + index) % capacity) * fields,
        )
        return { at, cpu, rss, pss }
      })
    },
  }
}
