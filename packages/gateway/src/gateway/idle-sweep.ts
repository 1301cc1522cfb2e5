import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connections } from '../listener/connections.ts'
import type { Exchanges } from '../listener/exchanges.ts'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'
import { closeExpired, type LiveRoute } from '../upstream/open-routes.ts'

export interface IdleSweepOptions {
  readonly settings: Pick<ResolvedGatewayOptions, 'timeouts'>
  readonly routes: readonly LiveRoute[]
  readonly exchanges: Exchanges
  readonly connections: Connections
}

/** Cuts what has stood still for too long, again and again. Returns what ends that. */
export function startIdleSweep({ settings, routes, exchanges, connections }: IdleSweepOptions): () => void {
  function sweep(): void {
    const now = performance.now()
    exchanges.checkIdle(now)
    closeExpired(routes)
    connections.cutUnread(now, settings.timeouts.idle, (response) => exchanges.has(response))
  }
  const timer = setInterval(
    // What has come while this process stood still is read first.
    () => void nextTurn().then(sweep),
    Math.max(20, Math.min(1_000, shortestLimit([settings, ...routes]) / 4)),
  )
  return () => clearInterval(timer)
}

/** The shortest time limit for standing still that is in use, in milliseconds. */
function shortestLimit(
  of: readonly { readonly timeouts: { readonly headers: number; readonly idle: number } }[],
): number {
  const limits = of.flatMap(({ timeouts: { headers, idle } }) => [headers, idle])
  return Math.min(...limits.filter((limit) => limit > 0))
}
