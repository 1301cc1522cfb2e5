import type { Duration, Logger } from '@quintet/core'
import { type Clock, option, parseDuration, readOptions, refuseUnknownKeys } from '@quintet/core/kit'
import { bounded } from '../commands/bounded.ts'
import { describeFailure, isRedisUnavailable, RedisError } from '../errors.ts'
import { gcra, refundGcra, runGcra } from './gcra.ts'
import type { GcraLimit, GcraOutcome } from './gcra.ts'
import { assertKey } from '../commands/key.ts'
import { createScript, prefixOption, scriptClientOption } from '../commands/script.ts'
import type { ScriptClient } from '../commands/script.ts'
import { SecondChanceMap } from '../second-chance-map.ts'

/** How much a key may spend: `limit` units per `period`, at most `burst` at once. */
export interface RateLimit {
  /** Whole units per period; at least 1, at most one per microsecond. */
  readonly limit: number
  readonly period: Duration
  /** Units that can be spent at once. @defaultValue `limit` */
  readonly burst?: number
}

export interface ConsumeOptions {
  /** Units that this call costs; 0 only looks. @defaultValue `1` */
  readonly cost?: number
  /** Replaces {@link RateLimiterOptions.onUnavailable} for this call, e.g. by route. */
  readonly onUnavailable?: 'local' | 'refuse'
}

/** Times in milliseconds. */
export interface RateLimitResult {
  readonly allowed: boolean
  /** Units that can be spent at once when nothing is spent. */
  readonly limit: number
  /** Units that can be spent now. */
  readonly remaining: number
  /** Until the same call would be allowed; 0 when it was. */
  readonly retryAfter: number
  /** Until all of {@link limit} is available again. */
  readonly resetAfter: number
  /** Time in which all of {@link limit} comes back: the window that headers announce. */
  readonly window: number
  /** Who decided: all processes together, or this one alone while Redis is away. */
  readonly source: 'redis' | 'local'
}

export interface RateLimiterOptions {
  readonly client: ScriptClient
  /** Put before every key. @defaultValue `'rl:'` */
  readonly prefix?: string
  /**
   * While Redis is away: `'local'` counts in this process, by the limit divided by {@link instances};
   * `'refuse'` fails with `ERR_REDIS_UNAVAILABLE`, for sign-in and one-time codes.
   * @defaultValue `'local'`
   */
  readonly onUnavailable?: 'local' | 'refuse'
  /** Processes that share the limit, for `'local'`. @defaultValue `1` */
  readonly instances?: number
  /** How long a decision may wait for Redis. @defaultValue `100` */
  readonly timeout?: Duration
  /** After a failure Redis is asked again at most once in this time. @defaultValue `'1s'` */
  readonly retryInterval?: Duration
  /** Keys that are counted in memory while Redis is away. @defaultValue `10_000` */
  readonly maxLocalKeys?: number
  readonly clock?: Clock
  readonly logger?: Logger
}

export const rateLimiterDefaults: Readonly<{
  prefix: string
  onUnavailable: 'local'
  instances: number
  timeout: Duration
  retryInterval: Duration
  maxLocalKeys: number
}> = Object.freeze({
  prefix: 'rl:',
  onUnavailable: 'local',
  instances: 1,
  timeout: 100,
  retryInterval: '1s',
  maxLocalKeys: 10_000,
})

/** Decides how often something may be done, for all processes together. */
export interface RateLimiter {
  /**
   * Spends from the key and says whether it may. A call that is refused costs nothing.
   *
   * @throws RedisError `ERR_REDIS_UNAVAILABLE` while Redis is away, with `onUnavailable: 'refuse'`.
   * @throws TypeError for a key that is empty or no text, a limit that is wrong, or a cost that exceeds the burst.
   */
  consume(key: string, limit: RateLimit, options?: ConsumeOptions): Promise<RateLimitResult>
  /**
   * Gives back one unit that was spent, e.g. when an attempt turns out to be none that is to be limited. Takes the timeout
   * at most. @throws RedisError `ERR_REDIS_UNAVAILABLE`
   */
  refund(key: string, limit: RateLimit): Promise<void>
  /** Gives the key its full burst again. Takes the timeout at most. @throws RedisError `ERR_REDIS_UNAVAILABLE` */
  reset(key: string): Promise<void>
}

const defaults = rateLimiterDefaults

const spec = {
  client: scriptClientOption(),
  prefix: prefixOption(defaults.prefix),
  onUnavailable: option.oneOf(['local', 'refuse'], defaults.onUnavailable),
  instances: option.count(defaults.instances, { min: 1 }),
  timeout: option.delay(defaults.timeout, { min: 1 }),
  retryInterval: option.duration(defaults.retryInterval),
  maxLocalKeys: option.count(defaults.maxLocalKeys, { min: 1 }),
  clock: option.clock(),
  logger: option.logger(),
}

/**
 * Makes a rate limiter: GCRA in one script, by the clock of Redis, one small key per limited key.
 *
 * A decision takes the timeout at most; while Redis is away most take no time, since it is asked
 * again only once per `retryInterval`.
 */
export function createRateLimiter(options: RateLimiterOptions): RateLimiter {
  const { client, prefix, onUnavailable, instances, timeout, retryInterval, maxLocalKeys, clock, logger } =
    readOptions<RateLimiterOptions, typeof spec>(options, spec, 'createRateLimiter')
  const arrivals = new SecondChanceMap<string, number>(maxLocalKeys)
  let available = true
  let askAgainAt = 0

  async function ask(key: string, limit: GcraLimit, cost: number): Promise<RateLimitResult> {
    const answer = runGcra(client, [prefix + key], [limit.interval, limit.burst, cost])
    // A client with `stringNumbers` gives texts.
    const numbers = ((await bounded(answer, timeout)) as unknown[]).map(Number)
    const [allowed, remaining, retryAfter, resetAfter] = numbers
    return toResult('redis', limit, {
      allowed: allowed === 1,
      remaining: remaining ?? 0,
      retryAfter: retryAfter ?? 0,
      resetAfter: resetAfter ?? 0,
    })
  }

  function countHere(key: string, limit: GcraLimit, cost: number): RateLimitResult {
    const share = {
      interval: limit.interval * instances,
      burst: Math.max(cost, 1, Math.floor(limit.burst / instances)),
    }
    const outcome = gcra(share, cost, Math.floor(clock.monotonic() * 1_000), arrivals.get(key))
    if (outcome.allowed && cost > 0) arrivals.set(key, outcome.arrival)
    return toResult('local', share, outcome)
  }

  function noteFailure(error: unknown): void {
    askAgainAt = clock.monotonic() + retryInterval
    if (available) logger.warn({ reason: describeFailure(error) }, 'rate limits are decided without redis')
    available = false
  }

  function noteSuccess(): void {
    if (!available) logger.info({}, 'rate limits are decided by redis again')
    available = true
  }

  return {
    async consume(key, rateLimit, callOptions = {}) {
      assertKey(key, 'consume')
      refuseUnknownKeys(callOptions, ['cost', 'onUnavailable'], 'consume')
      const { cost = 1, onUnavailable: byCall } = callOptions
      const limit = resolveLimit(rateLimit)
      if (!Number.isSafeInteger(cost) || cost < 0 || cost > limit.burst) {
        throw new TypeError(
          `consume.cost: ${cost} is not a whole number from 0 to the burst of ${limit.burst}.`,
        )
      }
      const now = clock.monotonic()
      if (available || now >= askAgainAt) {
        // One call alone asks on behalf of all until its answer is there.
        if (!available) askAgainAt = now + retryInterval
        try {
          const result = await ask(key, limit, cost)
          noteSuccess()
          return result
        } catch (error) {
          if (!isRedisUnavailable(error)) throw error
          noteFailure(error)
        }
      }
      if ((byCall ?? onUnavailable) === 'local') return countHere(key, limit, cost)
      throw new RedisError('ERR_REDIS_UNAVAILABLE', 'Rate limits cannot be checked now.', {
        retryAfter: retryInterval,
      })
    },
    async refund(key, rateLimit) {
      assertKey(key, 'refund')
      const { interval } = resolveLimit(rateLimit)
      const local = arrivals.get(key)
      if (local !== undefined) arrivals.set(key, local - interval * instances)
      await bounded(refundGcra(client, [prefix + key], [interval, 1]), timeout)
    },
    async reset(key) {
      assertKey(key, 'reset')
      arrivals.delete(key)
      await bounded(deleteKey(client, [prefix + key], []), timeout)
    },
  }
}

const deleteKey = createScript(`return redis.call('DEL', KEYS[1])`)

function toResult(
  source: 'redis' | 'local',
  limit: GcraLimit,
  outcome: Pick<GcraOutcome, 'allowed' | 'remaining' | 'retryAfter' | 'resetAfter'>,
): RateLimitResult {
  return {
    allowed: outcome.allowed,
    limit: limit.burst,
    remaining: outcome.remaining,
    retryAfter: Math.ceil(outcome.retryAfter / 1_000),
    resetAfter: Math.ceil(outcome.resetAfter / 1_000),
    window: (limit.interval * limit.burst) / 1_000,
    source,
  }
}

/** Microseconds until a full burst is back: times so far ahead are still whole numbers in Redis and here. */
const longestWindow = 100 * 365 * 86_400 * 1_000_000

function resolveLimit(rateLimit: RateLimit): GcraLimit {
  refuseUnknownKeys(rateLimit, ['limit', 'period', 'burst'], 'consume.limit')
  const { limit, burst = limit } = rateLimit
  const period = parseDuration(rateLimit.period, 'consume.limit.period') * 1_000
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > period) {
    throw new TypeError(
      `consume.limit.limit: ${limit} is not a whole number from 1 to one per microsecond of the period.`,
    )
  }
  if (!Number.isSafeInteger(burst) || burst < 1) {
    throw new TypeError(`consume.limit.burst: ${burst} is not a whole number from 1.`)
  }
  // Rounded up, so that never more than the limit passes in a period.
  const interval = Math.ceil(period / limit)
  if (interval * burst > longestWindow) {
    throw new TypeError(
      `consume.limit: a burst of ${burst} takes longer than 100 years to come back. Give a smaller burst or a shorter period.`,
    )
  }
  return { interval, burst }
}
