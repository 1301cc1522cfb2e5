export { createGateway, type Gateway } from './gateway/create-gateway.ts'
export { gatewayTransport, type GatewayTransportOptions } from './gateway/transport.ts'
export {
  gatewayDefaults,
  type GatewayOptions,
  type RetryOptions,
  type TimeoutOptions,
} from './options/gateway-options.ts'
export type { CorsOptions } from './options/cors-options.ts'
export type { EjectionOptions } from './options/ejection-options.ts'
export type { ProbeOptions } from './options/probe-options.ts'
export { gatewaySecurityHeaders } from './options/security-headers.ts'
export {
  routeDefaults,
  type Affinity,
  type GatewayRouteOptions,
  type RateLimitOptions,
  type UpstreamOptions,
} from './options/route-options.ts'
export {
  maintenanceDefaults,
  type MaintenanceAllowance,
  type MaintenanceOptions,
  type MaintenanceRedis,
} from './maintenance/maintenance-options.ts'
export { maintenanceRedisAcl } from './maintenance/redis-acl.ts'
export type { RateLimitDecision, RateLimiter } from './options/rate-limiter.ts'
export type { SettledExchange } from './options/settled-exchange.ts'
export type { GatewayStatus, MaintenanceStatus, RouteStatus } from './traffic/gateway-status.ts'
export { GatewayError, type GatewayErrorCode } from './errors.ts'
