import type { Maintenance } from '../maintenance/watch-maintenance.ts'
import type { UpstreamGroup } from '../upstream/upstream-group.ts'

export interface GatewayStatus {
  readonly draining: boolean
  /** Open client connections. */
  readonly connections: number
  /** Requests in progress. */
  readonly requests: number
  readonly websockets: number
  readonly routes: readonly RouteStatus[]
  /** Undefined when the gateway does not watch maintenance flags. */
  readonly maintenance: MaintenanceStatus | undefined
}

export interface RouteStatus {
  readonly name: string
  readonly path: string
  readonly upstreams: readonly {
    readonly url: string
    readonly weight: number
    /** Requests in progress. */
    readonly requests: number
    readonly websockets: number
    /** What its readiness probe found last. */
    readonly ready: boolean
    readonly ejected: boolean
  }[]
}

export interface MaintenanceStatus {
  readonly all: boolean
  readonly apps: readonly string[]
  readonly tenants: readonly string[]
  /** Milliseconds since the flags were last read; null before the first time. */
  readonly age: number | null
  /** True when several readings in a row have failed. */
  readonly stale: boolean
}

export function readStatus(
  routes: readonly { readonly name: string; readonly path: string; readonly group: UpstreamGroup }[],
  maintenance: Maintenance | undefined,
  counts: {
    readonly draining: boolean
    readonly connections: number
    readonly exchanges: number
    readonly tunnels: number
  },
): GatewayStatus {
  return {
    draining: counts.draining,
    connections: counts.connections,
    requests: counts.exchanges,
    websockets: counts.tunnels,
    routes: routes.map(({ name, path, group }) => ({
      name,
      path,
      upstreams: group.upstreams.map(({ id, weight, load, ready, ejected }) => ({
        url: id,
        weight,
        ...load,
        ready,
        ejected,
      })),
    })),
    maintenance: maintenance && {
      all: maintenance.state.all !== undefined,
      apps: [...maintenance.state.apps.keys()],
      tenants: [...maintenance.state.tenants],
      age: Number.isFinite(maintenance.age) ? maintenance.age : null,
      stale: maintenance.stale,
    },
  }
}
