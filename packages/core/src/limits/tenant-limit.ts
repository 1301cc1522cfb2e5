import { QuintetError } from '../errors.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions } from '../options/read-options.ts'
import type { Duration } from '../options/duration.ts'
import type { Invocation, InvocationWrapper } from '../pipeline/invocation.ts'
import { createKeyedSemaphore } from './keyed-semaphore.ts'

export interface TenantPlacesOptions {
  /** Calls of one tenant at once, in this process; further ones wait in line. @defaultValue 32 */
  readonly concurrency?: number
  /** Of these, calls of one user at once. @defaultValue half of `concurrency` */
  readonly userConcurrency?: number
  /** How many of one tenant may wait, half of them of one user; further ones are refused with `ERR_CORE_RATE_LIMITED`. @defaultValue 256 */
  readonly waiting?: number
  /** How long a call may wait for a place; then it is refused with `ERR_CORE_RATE_LIMITED`. @defaultValue `'5s'` */
  readonly maxWait?: Duration
}

export interface TenantLimitOptions extends TenantPlacesOptions {
  /** Calls of one tenant in each `period`, in this process; further ones are refused. @defaultValue no limit */
  readonly rate?: number
  /** @defaultValue `'1s'` */
  readonly period?: Duration
  /**
   * Operations with places of their own, by name: what lasts, such as `POST /objects`, takes none of those of all others.
   * @defaultValue none
   */
  readonly apart?: Readonly<Record<string, TenantPlacesOptions>>
}

/** What applies where {@link TenantLimitOptions} says nothing. */
export const tenantLimitDefaults = Object.freeze({
  concurrency: 32,
  waiting: 256,
  maxWait: '5s',
  period: '1s',
} as const)

const placesSpec = {
  concurrency: option.count(tenantLimitDefaults.concurrency, { min: 1 }),
  userConcurrency: option.count(undefined, { min: 1 }).optional(),
  waiting: option.count(tenantLimitDefaults.waiting, { min: 0 }),
  maxWait: option.delay(tenantLimitDefaults.maxWait, { min: 1 }),
}
const spec = {
  ...placesSpec,
  rate: option.count(Infinity, { min: 1 }),
  period: option.duration(tenantLimitDefaults.period, { min: 1 }),
  apart: option.record(option.nested(placesSpec)),
}

/** Surfaces whose calls last as long as their client wishes: they take no place. */
const unlimited: ReadonlySet<string> = new Set(['job', 'message'])

/**
 * Holds each tenant to its share of a process, and each user to a share of that of their tenant: calls wait for others of
 * the same tenant or user alone, and not for long. Callers without a tenant, jobs and messages of channels are not held; the
 * place of a stream is free when it has ended.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * defineSystem({
 *   name: 'media',
 *   version: '1.0.0',
 *   wrappers: () => [tenantLimit({ concurrency: 16, apart: { 'POST /objects': { concurrency: 4 } } })],
 *   processes,
 * })
 */
export function tenantLimit(options: TenantLimitOptions = {}): InvocationWrapper {
  const { rate, period, apart, ...rest } = readOptions<TenantLimitOptions, typeof spec>(
    options,
    spec,
    'tenantLimit',
  )
  const shared = createPlaces(rest)
  const own = new Map(Object.entries(apart).map(([name, places]) => [name, createPlaces(places)]))
  const assertPace = rate === Infinity ? undefined : createPace(rate, period)

  return async (invocation, next) => {
    const { operation, principal } = invocation
    if (principal.tenantId === null || unlimited.has(operation.surface)) return next()
    assertPace?.(principal.tenantId)
    return (own.get(operation.name) ?? shared)(principal.tenantId, invocation, next)
  }
}

type Places = <Result>(tenantId: string, call: Invocation, next: () => Promise<Result>) => Promise<Result>

function createPlaces(limits: ResolvedOptions<typeof placesSpec>): Places {
  const { concurrency, userConcurrency = Math.ceil(concurrency / 2), waiting, maxWait } = limits
  const unbounded = { total: Number.MAX_SAFE_INTEGER, waiting: Number.MAX_SAFE_INTEGER, maxWait }
  const ofTenant = createKeyedSemaphore({ ...unbounded, perKey: concurrency, waitingPerKey: waiting })
  const ofUser = createKeyedSemaphore({
    ...unbounded,
    perKey: userConcurrency,
    waitingPerKey: Math.ceil(waiting / 2),
  })
  return (tenantId, { principal: { userId }, signal }, next) => {
    const work = <Result>(run: () => Promise<Result>): Promise<Result> => ofTenant.take(tenantId, signal, run)
    // A user who waits for their own calls stands in the way of no one else of the tenant.
    return userId === null
      ? work(next)
      : ofUser.take(JSON.stringify([tenantId, userId]), signal, () => work(next))
  }
}

/** @throws QuintetError `ERR_CORE_RATE_LIMITED` beyond so many calls of a tenant in each period. */
function createPace(rate: number, period: number): (tenantId: string) => void {
  let [began, calls] = [0, new Map<string, number>()]
  return (tenantId) => {
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
}
