import type { Logger } from '@quintet/core'
import { askStatus } from '../http-client/ask-status.ts'
import type { LiveRoute } from './open-routes.ts'
import type { ResolvedProbes } from '../options/probe-options.ts'
import type { Upstream } from './upstream.ts'

/** Active health checks: asks upstreams for their readiness, so that requests need not find it out. */
export interface ReadinessProbes {
  stop(): void
}

/** Probes the upstreams of each route that has several; with a single one there is no choice to make. */
export function watchReadiness(
  routes: readonly LiveRoute[],
  options: ResolvedProbes | undefined,
  logger: Logger,
): ReadinessProbes {
  const upstreams = routes
    .map(({ group }) => group.upstreams)
    .filter(({ length }) => length > 1)
    .flat()
  if (!options || upstreams.length === 0) return { stop: () => undefined }
  const stopped = new AbortController()
  const asking = new Set<Upstream>()

  async function probe(upstream: Upstream): Promise<void> {
    if (asking.has(upstream)) return
    asking.add(upstream)
    const ready = await isReady(upstream, options as ResolvedProbes, stopped.signal)
    asking.delete(upstream)
    if (!stopped.signal.aborted && upstream.probed(ready))
      logger.warn({ upstream: upstream.id, ready }, 'the readiness of an upstream has changed')
  }

  const timer = setInterval(() => {
    for (const upstream of upstreams) void probe(upstream)
  }, options.interval)
  return {
    stop() {
      clearInterval(timer)
      stopped.abort()
    },
  }
}

async function isReady(upstream: Upstream, options: ResolvedProbes, stopped: AbortSignal): Promise<boolean> {
  const signal = AbortSignal.any([stopped, AbortSignal.timeout(options.timeout)])
  const status = await askStatus(upstream.pool, options.path, new URL(upstream.id).host, signal)
  return status !== undefined && status < 500
}
