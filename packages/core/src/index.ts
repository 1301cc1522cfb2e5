export type { AuthManager } from './access/auth-manager.ts'
export type { AccessRule, PrincipalFor } from './access/access-rule.ts'
export {
  anonymous,
  systemPrincipal,
  type Principal,
  type SystemPrincipal,
  type UserPrincipal,
} from './access/principal.ts'
export type { AppOptions } from './app/app-options.ts'
export { createApp } from './app/create-app.ts'
export { env } from './config/env.ts'
export { file, type FileSourceOptions } from './config/file.ts'
export { overrides } from './config/overrides.ts'
export type { ConfigSource } from './config/source.ts'
export type { App } from './definition/app.ts'
export { defineProcess } from './definition/define-process.ts'
export { defineSystem } from './definition/define-system.ts'
export type { Hooks } from './definition/hooks.ts'
export type { ProcessDefinition, ProcessOptions } from './definition/process.ts'
export type {
  ProcessEntry,
  RequirementOptions,
  SetupContext,
  ShutdownOptions,
  System,
  SystemOptions,
  TopologyOptions,
} from './definition/system.ts'
export { withServices } from './definition/with-services.ts'
export { isQuintetError, QuintetError, type ErrorKind, type QuintetErrorOptions } from './errors.ts'
export { uuidv7 } from './ids/uuid-v7.ts'
export type { HealthCheck, HealthReport } from './lifecycle/health-checks.ts'
export { tenantLimit, tenantLimitDefaults, type TenantLimitOptions } from './limits/tenant-limit.ts'
export {
  createKeyedSemaphore,
  keyedSemaphoreDefaults,
  type KeyedSemaphore,
  type KeyedSemaphoreOptions,
} from './limits/keyed-semaphore.ts'
export { lazy, type Lazy } from './lifecycle/lazy.ts'
export type { Lifecycle } from './lifecycle/lifecycle.ts'
export { silentLogger, type Logger, type LogLevel } from './logging/logger.ts'
export type { Duration } from './options/duration.ts'
export type { Size } from './options/size.ts'
export type { ClientInfo } from './pipeline/client-info.ts'
export { currentInvocation } from './pipeline/current-invocation.ts'
export type { Invocation, InvocationWrapper } from './pipeline/invocation.ts'
export { procedure } from './procedures/define-procedure.ts'
export { route } from './procedures/define-route.ts'
export { service } from './procedures/define-service.ts'
export type { Procedure, ProcedureCall, ProcedureOptions } from './procedures/procedure.ts'
export type { Route, RouteContext, RouteOptions } from './procedures/route.ts'
export type { Schema, SchemaInput, SchemaOutput } from './procedures/schema.ts'
export type { Service } from './procedures/service.ts'
export { Secret } from './security/secret.ts'
export type { BinaryClientLink, ClientLink } from './transport/link.ts'
export type { StopReason, Transport } from './transport/transport.ts'
