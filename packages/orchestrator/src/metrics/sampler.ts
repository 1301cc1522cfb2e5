import { readShare, readUsageOf, type Usage } from './usage.ts'

export interface SamplerOptions {
  /** Milliseconds. */
  readonly interval: number
  /** Milliseconds. */
  readonly retention: number
  /** Pids of what to measure now, by name; of several together the first tells one child from the next. */
  readonly targets: () => ReadonlyMap<string, readonly [number, ...number[]]>
}

export interface Sample {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Share of one CPU, in percent. */
  readonly cpu: number
  /** Bytes. */
  readonly rss: number
  /** Bytes; what processes share is divided among them. Measured once a minute, and when the process grows. */
  readonly pss: number
}

/** Measures processes again and again, and keeps what it measured for a while. */
export interface Sampler {
  latest(name: string): Sample | undefined
  /** Oldest first; no longer than the retention. */
  history(name: string): readonly Sample[]
  /** Measures now. */
  sample(): Promise<void>
  /** Measures what was not measured yet, such as a new child. */
  sampleNew(): Promise<void>
  close(): void
}

/** How often the share of a process that stays as it is is measured, in milliseconds. */
const shareInterval = 60_000

interface Share {
  readonly bytes: number
  /** What it was measured at. */
  readonly rss: number
  readonly measuredAt: number
}

interface Measurement {
  readonly name: string
  readonly pid: number
  readonly usage: Usage
  readonly measuredAt: number
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

  const shares = new Map<number, Share>()

  /** Measures the targets, without those that `skip` names. */
  async function measureAll(skip: (name: string, pid: number) => boolean): Promise<void> {
    const known = new Map<number, Usage | undefined>()
    const used = [...options.targets()].flatMap(([name, pids]) => {
      const [pid] = pids
      const usage = skip(name, pid) ? undefined : readUsageOf(pids, known)
      return usage ? [{ name, pid, usage, measuredAt: performance.now() }] : []
    })
    await refreshShares(
      new Map(used.flatMap(({ usage }) => usage.processes.map(({ pid, rss }) => [pid, rss]))),
    )
    for (const each of used) keep(each)
  }

  /** Shared memory is expensive to measure: from time to time, and when a process has grown or shrunk. */
  async function refreshShares(sizes: ReadonlyMap<number, number>): Promise<void> {
    const now = performance.now()
    const due = [...sizes].filter(([pid, rss]) => {
      const share = shares.get(pid)
      return !share || now - share.measuredAt >= shareInterval || Math.abs(rss - share.rss) > share.rss / 5
    })
    await Promise.all(
      due.map(async ([pid, rss]) => {
        const bytes = await readShare(pid)
        if (bytes !== undefined) shares.set(pid, { bytes, rss, measuredAt: now })
      }),
    )
    for (const [pid, { measuredAt }] of shares) if (now - measuredAt > 2 * shareInterval) shares.delete(pid)
  }

  function keep({ name, pid, usage, measuredAt }: Measurement): void {
    let track = tracks.get(name)
    if (!track)
      tracks.set(name, (track = { samples: createRing(capacity), pid: 0, cpuSeconds: 0, measuredAt: 0 }))
    const elapsed = (measuredAt - track.measuredAt) / 1_000
    // A new child starts from nothing; what the one before it used is over.
    const used = track.pid === pid ? usage.cpuSeconds - track.cpuSeconds : 0
    Object.assign(track, { pid, cpuSeconds: usage.cpuSeconds, measuredAt })
    track.samples.push({
      at: Date.now(),
      cpu: elapsed > 0 ? Math.max(0, (used / elapsed) * 100) : 0,
      rss: usage.rss,
      pss: usage.processes.reduce((sum, { pid: each, rss }) => sum + (shares.get(each)?.bytes ?? rss), 0),
    })
  }

  const sample = (): Promise<void> => measureAll(() => false)

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
    latest: (name) => tracks.get(name)?.samples.latest(),
    history: (name) => tracks.get(name)?.samples.all() ?? [],
    sample,
    sampleNew: () => measureAll((name, pid) => tracks.get(name)?.pid === pid),
    close: () => clearInterval(timer),
  }
}

interface SampleRing {
  push(sample: Sample): void
  all(): Sample[]
  latest(): Sample | undefined
}

const fields = 4

/** Numbers in one block of memory, so that hours of samples stay small. */
function createRing(capacity: number): SampleRing {
  const values = new Float64Array(capacity * fields)
  let count = 0
  const sampleAt = (index: number): Sample => {
    const [at = 0, cpu = 0, rss = 0, pss = 0] = values.subarray((index % capacity) * fields)
    return { at, cpu, rss, pss }
  }
  return {
    push({ at, cpu, rss, pss }) {
      values.set([at, cpu, rss, pss], (count % capacity) * fields)
      count += 1
    },
    all() {
      const kept = Math.min(count, capacity)
      return Array.from({ length: kept }, (_, index) => sampleAt(count - kept + index))
    },
    latest: () => (count === 0 ? undefined : sampleAt(count - 1)),
  }
}
