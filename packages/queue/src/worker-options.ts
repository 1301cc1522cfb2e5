import { parseDuration, refuseUnknownKeys, type Duration } from '@quintet/core'
import type { Redis } from 'ioredis'
import { createEnvelopeSigner, type EnvelopeSigner, type SecretText } from './envelope.ts'
import { assertConnection, parsePrefix } from './queue.ts'

export interface WorkerOptions {
  /** An ioredis client without command timeout and with `maxRetriesPerRequest: null`. It stays its owner's. */
  readonly connection: Redis
  /** The secret with which jobs are signed; of several, any. */
  readonly secret: SecretText | readonly SecretText[]
  /** @defaultValue `'quintet'` */
  readonly prefix?: string
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
  readonly connection: Redis
  readonly signer: EnvelopeSigner
  readonly prefix: string
  readonly concurrency: number
  readonly tenantConcurrency: number
  readonly lockDuration: number
  readonly maxLag: number
}

const knownKeys = ['connection', 'secret', 'prefix', 'concurrency', 'tenantConcurrency', 'lockDuration', 'maxLag']

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveWorkerOptions(options: WorkerOptions, path: string): ResolvedWorkerOptions {
  refuseUnknownKeys(options, knownKeys, path)
  assertConnection(options.connection, path)
  if (options.connection.options.maxRetriesPerRequest !== null) {
    throw new TypeError(
      `${path}: connection gives up on commands. Give one with maxRetriesPerRequest: null, e.g. redis.duplicate('queue', { blocking: true }).`,
    )
  }
  const positive = (value: number, key: string): number => {
    if (Number.isSafeInteger(value) && value >= 1) return value
    throw new TypeError(`${path}: ${key} must be a whole number from 1, not ${String(value)}.`)
  }
  const lockDuration = parseDuration(options.lockDuration ?? workerDefaults.lockDuration, `${path}: lockDuration`)
  if (lockDuration < 1_000) throw new TypeError(`${path}: lockDuration must be at least a second.`)
  return {
    connection: options.connection,
    signer: createEnvelopeSigner(options.secret),
    prefix: parsePrefix(options.prefix, path),
    concurrency: positive(options.concurrency ?? workerDefaults.concurrency, 'concurrency'),
    tenantConcurrency:
      options.tenantConcurrency === undefined ? Infinity : positive(options.tenantConcurrency, 'tenantConcurrency'),
    lockDuration,
    maxLag: options.maxLag === undefined ? Infinity : parseDuration(options.maxLag, `${path}: maxLag`),
  }
}
