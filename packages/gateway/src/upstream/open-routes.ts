import type { Clock } from '@quintet/core/kit'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'
import type { ResolvedRoute } from '../options/route-options.ts'
import { createUpstreamGroup, type UpstreamGroup } from './upstream-group.ts'
import { createUpstream } from './upstream.ts'

/** A route with its upstreams in use. */
export interface LiveRoute extends ResolvedRoute {
  readonly group: UpstreamGroup
}

export function openRoutes(settings: ResolvedGatewayOptions, clock: Clock): readonly LiveRoute[] {
  const { timeouts, maxResponseHeaderSize, ejection } = settings
  return settings.routes.map((route) => ({
    ...route,
    group: createUpstreamGroup(
      route.upstreams.map((upstream) =>
        createUpstream(upstream, timeouts, maxResponseHeaderSize, ejection, clock),
      ),
      ejection?.maxEjectedPercent ?? 0,
    ),
  }))
}

/** Gives an upstream another share. @throws TypeError when the route has no such upstream, or it is no weight. */
export function setWeight(
  routes: readonly LiveRoute[],
  routeName: string,
  url: string,
  weight: number,
): void {
  const route = routes.find((candidate) => candidate.name === routeName)
  const origin = URL.parse(url)?.origin
  const upstream = route?.group.upstreams.find(({ id }) => id === origin)
  if (!upstream)
    throw new TypeError(`The route ${JSON.stringify(routeName)} has no upstream ${JSON.stringify(url)}.`)
  if (!(Number.isFinite(weight) && weight >= 0)) {
    throw new TypeError(`${JSON.stringify(weight)} is not a weight: give a number from 0.`)
  }
  upstream.weight = weight
}

/** Closes the connections to upstreams that have waited for longer than they are kept. */
export function closeExpired(routes: readonly LiveRoute[]): void {
  for (const { group } of routes) for (const { pool } of group.upstreams) pool.closeExpired()
}

export function closeRoutes(routes: readonly LiveRoute[]): void {
  for (const { group } of routes) for (const { pool } of group.upstreams) pool.destroy()
}
