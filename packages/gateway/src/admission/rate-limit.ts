import type { ServerResponse } from 'node:http'
import type { Logger } from '@quintet/core'
import { GatewayError } from '../errors.ts'
import type { RateLimitDecision } from '../options/rate-limiter.ts'
import type { ResolvedRateLimit } from '../options/route-options.ts'

/** How long a limiter may take. A slow one must not become the latency of every request. */
const limiterTimeoutMs = 250

/**
 * The rate limit of one route: counts a request under a key, and falls back on the policy of the route when the
 * limiter fails. A failure is logged when it begins and when it ends. The answer gets the headers of the decision.
 *
 * The returned function throws a GatewayError: `ERR_GATEWAY_RATE_LIMITED`, or `ERR_GATEWAY_OVERLOADED` when the limiter
 * fails and the policy is to refuse.
 */
export function createRateLimit(
  route: string,
  { limiter, onFailure }: ResolvedRateLimit,
  logger: Logger,
): (key: string, response: ServerResponse) => Promise<void> {
  let failing = false

  function failed(cause: unknown): void {
    if (!failing) logger.error({ err: cause, route, onFailure }, 'the rate limiter fails')
    failing = true
    if (onFailure === 'allow') return
    throw new GatewayError(
      'ERR_GATEWAY_OVERLOADED',
      'The request cannot be counted now. Try again shortly.',
      {
        retryAfter: 1_000,
        cause,
      },
    )
  }

  return async (key, response) => {
    let decision: RateLimitDecision
    try {
      decision = await ask(() => limiter.consume(`${route}:${key}`))
      for (const [name, value] of Object.entries(decision.headers ?? {})) response.setHeader(name, value)
    } catch (cause) {
      return failed(cause)
    }
    if (failing) logger.info({ route }, 'the rate limiter answers again')
    failing = false
    if (decision.allowed) return
    throw new GatewayError('ERR_GATEWAY_RATE_LIMITED', 'There were too many requests.', {
      retryAfter: decision.retryAfter,
    })
  }
}

async function ask(
  consume: () => Promise<RateLimitDecision> | RateLimitDecision,
): Promise<RateLimitDecision> {
  let timer: NodeJS.Timeout | undefined
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        reject,
        limiterTimeoutMs,
        new Error(`The rate limiter took longer than ${limiterTimeoutMs} ms.`),
      )
    })
    return assertDecision(await Promise.race([consume(), late]))
  } finally {
    clearTimeout(timer)
  }
}

function assertDecision(decision: RateLimitDecision | undefined): RateLimitDecision {
  const isDecision =
    typeof decision?.allowed === 'boolean' && (decision.allowed || Number.isFinite(decision.retryAfter))
  if (isDecision) return decision
  throw new TypeError('The rate limiter has answered with no decision: it must be { allowed, retryAfter }.')
}
