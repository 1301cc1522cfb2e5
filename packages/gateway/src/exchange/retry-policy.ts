import type { GatewayError } from '../errors.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { ExchangePlan } from './exchange-host.ts'
import type { RequestBody } from './request-body.ts'
import type { Retries } from './retry-budget.ts'

const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** Whether sending the request twice does no more than sending it once. */
export function isRepeatable(method: string, plan: ExchangePlan): boolean {
  return !plan.hasBody && idempotent.has(method)
}

/** An attempt that has failed. */
export interface FailedAttempt {
  readonly repeatable: boolean
  readonly plan: ExchangePlan
  readonly error: GatewayError
  readonly cause: NodeJS.ErrnoException
  /** How many have been made, with this one. */
  readonly attempts: number
  readonly tried: readonly Upstream[]
  readonly body: RequestBody | undefined
}

/** Whether the request may be sent once more: only where that cannot do anything twice. */
export function mayRetry(
  { repeatable, plan, error, cause, attempts, tried, body }: FailedAttempt,
  retries: Retries,
): boolean {
  if (retries.attempts === 0) return false
  const untried = plan.group.upstreams.some((upstream) => upstream.weight > 0 && !tried.includes(upstream))
  const unsent = body?.started !== true && untried
  // Refused at once and never seen: asking each of the others once loads nobody twice.
  if (unsent && error.code === 'ERR_GATEWAY_UPSTREAM_UNREACHABLE') return true
  if (attempts > retries.attempts) return false
  // A bad answer was made for this request: the next one would be no better.
  const lost = error.code === 'ERR_GATEWAY_UPSTREAM_FAILED' && cause.code !== 'BAD_ANSWER'
  const unseen = unsent && cause.code === 'CONNECT_TIMEOUT'
  return ((repeatable && !plan.upgrade && lost) || unseen) && retries.budget.withdraw()
}

/** Whether a failure counts against the upstream. What a caller can bring about does not. */
export function isUpstreamsFault(
  error: GatewayError,
  body: RequestBody | undefined,
  upstream: Upstream | undefined,
  attemptedAt: number,
): boolean {
  switch (error.code) {
    case 'ERR_GATEWAY_UPSTREAM_UNREACHABLE':
      return true
    case 'ERR_GATEWAY_UPSTREAM_FAILED':
      // What can answer is alive: a caller may have a part in how.
      if ((error.cause as NodeJS.ErrnoException).code === 'BAD_ANSWER') return false
      // It may break the connection because it does not want the rest of the body.
      return !body?.started || body.endedAt < performance.now()
    case 'ERR_GATEWAY_UPSTREAM_TIMEOUT':
      // A request that takes long may be its caller's choice, unless the upstream was silent meanwhile.
      return (upstream?.answeredAt ?? 0) < attemptedAt
    default:
      return false
  }
}
