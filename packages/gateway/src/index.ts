export { createGateway, type Gateway } from './gateway.ts'
export { gatewayTransport, type GatewayTransportOptions } from './transport.ts'
export {
  defaultSecurityHeaders,
  gatewayDefaults,
  type EjectionOptions,
  type GatewayOptions,
  type ProbeOptions,
  type RetryOptions,
  type TimeoutOptions,
} from './options.ts'
export {
  routeDefaults,
  type Affinity,
  type GatewayRouteOptions,
  type RateLimitOptions,
  type UpstreamOptions,
} from './route-options.ts'
export {
  maintenanceDefaults,
  type MaintenanceAllowance,
  type MaintenanceOptions,
  type MaintenanceRedis,
} from './maintenance-options.ts'
export type { RateLimitDecision, RateLimiter } from './rate-limit.ts'
export type { SettledExchange } from './settled-exchange.ts'
export type { GatewayStatus, MaintenanceStatus, RouteStatus } from './status.ts'
export { GatewayError, type GatewayErrorCode } from './errors.ts'
export { generateNginxConfig, type NginxFiles } from './nginx/nginx-config.ts'
export type { NginxMaintenanceOptions, NginxOptions } from './nginx/nginx-options.ts'
