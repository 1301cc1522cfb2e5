import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import type { Queue } from '../jobs/create-queue.ts'

export interface WorkerOptions<Services = unknown> {
  /** Where the jobs are. A function gets the services of the process when the worker starts. */
  readonly queue: Queue | ((services: Services) => Queue)
  /** Jobs at once in this process. @defaultValue 4 */
  readonly concurrency?: number
  /** Jobs of one tenant at once in this process, so that one tenant cannot take every place. @defaultValue no limit */
  readonly tenantConcurrency?: number
  /** For how long a job of a worker that fell silent stays its own; then another takes it over. @defaultValue `'30s'` */
  readonly lockDuration?: Duration
  /** The health check warns when the oldest job has waited longer. @defaultValue never */
  readonly maxLag?: Duration
}

/** What applies where {@link WorkerOptions} says nothing. */
export const workerDefaults = Object.freeze({ concurrency: 4, lockDuration: '30s' } as const)

export interface ResolvedWorkerOptions {
  readonly concurrency: number
  readonly tenantConcurrency: number
  readonly lockDuration: number
  readonly maxLag: number
}

const knownKeys = ['queue', 'concurrency', 'tenantConcurrency', 'lockDuration', 'maxLag']

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveWorkerOptions(
  options: Omit<WorkerOptions, 'queue'>,
  path: string,
): ResolvedWorkerOptions {
  refuseUnknownKeys(options, knownKeys, path)
  const positive = (value: number, key: string): number => {
    if (Number.isSafeInteger(value) && value >= 1) return value
    throw new TypeError(`${path}: ${key} must be a whole number from 1, not ${String(value)}.`)
  }
  const lockDuration = parseDuration(
    options.lockDuration ?? workerDefaults.lockDuration,
    `${path}: lockDuration`,
  )
  if (lockDuration < 1_000) throw new TypeError(`${path}: lockDuration must be at least a second.`)
  return {
    concurrency: positive(options.concurrency ?? workerDefaults.concurrency, 'concurrency'),
    tenantConcurrency:
      options.tenantConcurrency === undefined
        ? Infinity
        : positive(options.tenantConcurrency, 'tenantConcurrency'),
    lockDuration,
    maxLag: options.maxLag === undefined ? Infinity : parseDuration(options.maxLag, `${path}: maxLag`),
  }
}
