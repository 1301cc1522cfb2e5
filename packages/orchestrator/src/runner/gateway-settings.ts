import type { GatewayRouteOptions } from '@quintet/gateway'

/** What the supervisor tells the gateway, in `QUINTET_GATEWAY` as JSON. */
export interface GatewaySettings {
  readonly routes: readonly GatewayRouteOptions[]
  /** What the ecosystem file says under `infrastructure.services.gateway.config`. */
  readonly config: Readonly<Record<string, unknown>>
  /** Where the maintenance flags are; null without a Redis. */
  readonly redisUrl: string | null
  /** Who shows it in `x-maintenance-token` passes while maintenance is on. */
  readonly maintenanceToken: string
}
