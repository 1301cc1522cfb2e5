import type { Sample } from '../metrics/sampler.ts'
import { table } from './table.ts'
import { formatBytes } from './units.ts'

/** Measurements of a process as a table, oldest first. */
export function formatSamples(samples: readonly Sample[]): string {
  return table([
    ['TIME', 'CPU', 'MEMORY', 'RSS'],
    ...samples.map(({ at, cpu, pss, rss }) => [
      new Date(at).toISOString(),
      `${cpu.toFixed(1)}%`,
      formatBytes(pss),
      formatBytes(rss),
    ]),
  ])
}
