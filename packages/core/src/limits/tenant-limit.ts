import { QuintetError } from '../errors.ts'
import { option } from '../options/options.ts'
import { readOptions } from '../options/read-options.ts'
import type { Duration } from '../options/duration.ts'
import type { InvocationWrapper } from '../pipeline/invocation.ts'
import { createTurns } from './turns.ts'

export interface TenantLimitOptions {
  /** Calls of one tenant at once, in this process; further ones wait in line. @defaultValue 32 */
  readonly concurrency?: number
  /** How many may wait; further ones are refused with `ERR_CORE_RATE_LIMITED`. @defaultValue 256 */
  readonly waiting?: number
  /** Calls of one tenant in each `period`, in this process; further ones are refused. @defaultValue no limit */
  readonly rate?: number
  /** @defaultValue `'1s'` */
  readonly period?: Duration
}

/** What applies where {@link TenantLimitOptions} says nothing. */
export const tenantLimitDefaults = Object.freeze({ concurrency: 32, waiting: 256, period: '1s' } as const)

const spec = {
  concurrency: option.count(tenantLimitDefaults.concurrency, { min: 1 }),
  waiting: option.count(tenantLimitDefaults.waiting, { min: 0 }),
  rate: option.count(Infinity, { min: 1 }),
  period: option.duration(tenantLimitDefaults.period, { min: 1 }),
}

/** Surfaces whose calls last as long as their client wishes: they take no place. */
const unlimited: ReadonlySet<string> = new Set(['job', 'message'])

/**
 * Holds each tenant to its share of a process: its calls wait for each other, not those of other tenants. Callers without a
 * tenant, jobs and messages of channels are not held; the place of a stream is free when it has ended.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * defineSystem({ name: 'media', version: '1.0.0', wrappers: () => [tenantLimit({ concurrency: 16 })], processes })
 */
export function tenantLimit(options: TenantLimitOptions = {}): InvocationWrapper {
  const { concurrency, waiting, rate, period } = readOptions<TenantLimitOptions, typeof spec>(
    options,
    spec,
    'tenantLimit',
  )
  const turns = createTurns({
    total: Number.MAX_SAFE_INTEGER,
    perKey: concurrency,
    waitingPerKey: waiting,
    waiting: Number.MAX_SAFE_INTEGER,
  })
  let [began, calls] = [0, new Map<string, number>()]

  const assertPace = (tenantId: string): void => {
    const now = performance.now()
    if (now - began >= period) [began, calls] = [now, new Map()]
    const made = (calls.get(tenantId) ?? 0) + 1
    calls.set(tenantId, made)
    if (made <= rate) return
    throw new QuintetError('Too many calls of this tenant. Try again shortly.', {
      code: 'ERR_CORE_RATE_LIMITED',
      kind: 'rate-limited',
      retryAfter: Math.ceil(began + period - now),
    })
  }
  return async ({ operation, principal: { tenantId }, signal }, next) => {
    if (tenantId === null || unlimited.has(operation.surface)) return next()
    if (rate !== Infinity) assertPace(tenantId)
    return turns.take(tenantId, signal, next)
  }
}
