import { GatewayError } from '../errors.ts'
import type { RateLimitDecision, RateLimiter } from '../options/rate-limiter.ts'

/** How long a limiter may take. A slow one must not become the latency of every request. */
const limiterTimeoutMs = 250

/**
 * Asks the limiter, and falls back on the route's policy when it fails.
 *
 * @throws GatewayError `ERR_GATEWAY_RATE_LIMITED`, or `ERR_GATEWAY_OVERLOADED` when it fails and the policy is to refuse.
 */
export async function consumeOne(
  limiter: RateLimiter,
  key: string,
  onFailure: 'allow' | 'refuse',
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let decision: RateLimitDecision
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        reject,
        limiterTimeoutMs,
        new Error(`The rate limiter took longer than ${limiterTimeoutMs} ms.`),
      )
    })
    decision = await Promise.race([limiter.consume(key), late])
  } catch (cause) {
    if (onFailure === 'allow') return
    throw new GatewayError(
      'ERR_GATEWAY_OVERLOADED',
      'The request cannot be counted now. Try again shortly.',
      { retryAfter: 1_000, cause },
    )
  } finally {
    clearTimeout(timer)
  }
  if (decision.allowed) return
  throw new GatewayError('ERR_GATEWAY_RATE_LIMITED', 'There were too many requests.', {
    retryAfter: decision.retryAfter,
  })
}
