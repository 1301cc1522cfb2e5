import { type Clock, option, readOptions } from '@quintet/core/kit'
import type { RateLimitResult } from './rate-limiter.ts'

export interface RateLimitHeadersOptions {
  /** Adds `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch) of the tightest policy. @defaultValue `false` */
  readonly legacy?: boolean
  readonly clock?: Clock
}

const spec = { legacy: option.boolean(false), clock: option.clock() }

/**
 * The headers that tell a client its limits, by policy name: `RateLimit-Policy`, `RateLimit` and, when one of them
 * refused, `Retry-After`.
 *
 * @throws TypeError for a policy name outside printable ASCII.
 * @example
 * rateLimitHeaders({ user: result })
 * // { 'ratelimit-policy': '"user";q=10;w=1', ratelimit: '"user";r=9;t=1' }
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 */
export function rateLimitHeaders(
  results: Readonly<Record<string, RateLimitResult>>,
  options: RateLimitHeadersOptions = {},
): Record<string, string> {
  const { legacy, clock } = readOptions<RateLimitHeadersOptions, typeof spec>(
    options,
    spec,
    'rateLimitHeaders',
  )
  const policies = Object.entries(results)
  const headers: Record<string, string> = {}
  if (policies.length === 0) return headers
  headers['ratelimit-policy'] = policies
    .map(([name, { limit, window }]) => `${quote(name)};q=${limit};w=${seconds(window)}`)
    .join(', ')
  headers['ratelimit'] = policies
    .map(([name, { remaining, resetAfter }]) => `${quote(name)};r=${remaining};t=${seconds(resetAfter)}`)
    .join(', ')
  const retryAfter = Math.max(...policies.map(([, result]) => result.retryAfter))
  if (retryAfter > 0) headers['retry-after'] = String(seconds(retryAfter))
  if (legacy) addLegacy(headers, policies, clock)
  return headers
}

function addLegacy(
  headers: Record<string, string>,
  policies: [string, RateLimitResult][],
  clock: Clock,
): void {
  const [tightest] = policies.map(([, result]) => result).toSorted((a, b) => a.remaining - b.remaining)
  if (tightest === undefined) return
  headers['x-ratelimit-limit'] = String(tightest.limit)
  headers['x-ratelimit-remaining'] = String(tightest.remaining)
  headers['x-ratelimit-reset'] = String(seconds(clock.now() + tightest.resetAfter))
}

/** Whole seconds, rounded up: a client that waits them does not come too early. */
function seconds(ms: number): number {
  return Math.ceil(ms / 1_000)
}

/** A string of structured fields (RFC 9651, section 3.3.3). */
function quote(name: string): string {
  if (!/^[\x20-\x7e]+$/.test(name))
    throw new TypeError(`rateLimitHeaders: ${JSON.stringify(name)} is not printable ASCII.`)
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}
