import type { Duration } from '@quintet/core'
import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import type { Queue } from '../jobs/create-queue.ts'

export interface WorkerOptions<Services = unknown> {
  /** Where the jobs are. A function gets the services of the process when the worker starts. */
  readonly queue: Queue | ((services: Services) => Queue)
  /** Jobs at once in this process. @defaultValue 4 */
  readonly concurrency?: number
  /** For how long a job of a worker that fell silent stays its own; then another takes it over. @defaultValue `'30s'` */
  readonly lockDuration?: Duration
  /** The health check warns when the oldest job has waited longer. @defaultValue never */
  readonly maxLag?: Duration
}

/** What applies where {@link WorkerOptions} says nothing. */
export const workerDefaults = Object.freeze({ concurrency: 4, lockDuration: '30s' } as const)

const spec = {
  concurrency: option.count(workerDefaults.concurrency, { min: 1 }),
  lockDuration: option.delay(workerDefaults.lockDuration, { min: '1s' }),
  maxLag: option.duration().optional(),
}

export type ResolvedWorkerOptions = Omit<ResolvedOptions<typeof spec>, 'maxLag'> & { readonly maxLag: number }

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveWorkerOptions(
  options: Omit<WorkerOptions, 'queue'>,
  path: string,
): ResolvedWorkerOptions {
  const resolved = readOptions<Omit<WorkerOptions, 'queue'>, typeof spec>(options, spec, path)
  return { ...resolved, maxLag: resolved.maxLag ?? Infinity }
}
