export { assertAccessRule, decideAccess, describeAccess, type AccessRule } from './access.ts'
export type { App, AppOptions } from './app.ts'
export { callProcedure, findProcedure, streamProcedure, type ProcedureHost } from './call-procedure.ts'
export { systemClock, type Clock } from './clock.ts'
export { describeConfig, type ConfigEntry } from './config/describe-config.ts'
export { env } from './config/env.ts'
export { file, type FileSourceOptions } from './config/file.ts'
export { loadConfig, type LoadConfigOptions, type LoadedConfig } from './config/load-config.ts'
export type { ConfigProblem } from './config/merge.ts'
export { overrides } from './config/overrides.ts'
export { isSecret, Secret, secret, type SecretOptions } from './config/secret.ts'
export type { ConfigContext, ConfigSource, ConfigTree } from './config/source.ts'
export { createApp } from './create-app.ts'
export {
  createHealthChecks,
  healthCheckDefaults,
  type HealthChecksOptions,
  type OwnedHealthChecks,
} from './create-health-checks.ts'
export { createLifecycle, type LifecycleOptions, type OwnedLifecycle } from './create-lifecycle.ts'
export { createPipeline, pipelineDefaults } from './create-pipeline.ts'
export { currentInvocation } from './current-invocation.ts'
export {
  noCredentials,
  type AuthenticateOptions,
  type AuthManager,
  type Credentials,
  type SessionEnd,
} from './credentials.ts'
export { defineEcosystem, ecosystemDefaults, isEcosystem } from './define-ecosystem.ts'
export { defineProcess, isProcessDefinition, type DefineProcess } from './define-process.ts'
export { defineSystem, isSystem, systemDefaults } from './define-system.ts'
export { route, routeOperation, type DefineRoute } from './define-route.ts'
export { nameProcedures, procedureOperation, service } from './define-service.ts'
export {
  assertShutdownOrder,
  dependencyProblems,
  sortByDependencies,
  type Dependent,
} from './dependency-order.ts'
export { parseDuration, type Duration } from './duration.ts'
export type {
  BackoffOptions,
  Ecosystem,
  EcosystemApp,
  EcosystemAppOptions,
  EcosystemOptions,
  EcosystemServer,
  EcosystemService,
  InfrastructureOptions,
  InfrastructureServiceOptions,
  LoggingOptions,
  MonitoringOptions,
  RestartStrategy,
  ServerOptions,
  SupervisionOptions,
  WatchOptions,
} from './ecosystem.ts'
export {
  isErrorKind,
  isQuintetError,
  QuintetError,
  toQuintetError,
  type CoreErrorCode,
  type ErrorKind,
  type QuintetErrorOptions,
} from './errors.ts'
export type { CheckResult, HealthCheck, HealthChecks, HealthReport } from './health-checks.ts'
export type { Hooks } from './hooks.ts'
export type { Invocation, InvocationObserver, InvocationWrapper, SettledCall } from './invocation.ts'
export { describeUnknownKey, nearestKey, refuseUnknownKeys } from './known-keys.ts'
export { lazy, type Lazy } from './lazy.ts'
export type { Lifecycle, Phase } from './lifecycle.ts'
export type { CallOptions, ClientLink, Links } from './link.ts'
export { createLogger, silentLogger, type Logger, type LoggerOptions, type LogLevel } from './logger.ts'
export { assertName } from './names.ts'
export type { Operation, Surface } from './operation.ts'
export type { CallSteps, IncomingCall, Pipeline, PipelineOptions } from './pipeline.ts'
export {
  anonymous,
  systemPrincipal,
  type AnonymousPrincipal,
  type Principal,
  type SystemPrincipal,
  type UserPrincipal,
} from './principal.ts'
export {
  procedure,
  procedureDefaults,
  type CallProcedureOptions,
  type ClientInput,
  type DefineProcedure,
  type HandlerInput,
  type StreamProcedureOptions,
} from './procedure.ts'
export type { ProcessDefinition, ProcessOptions } from './process.ts'
export type { Route, RouteContext, RouteMethod, RouteOptions } from './route.ts'
export { validate, type InputIssue, type Schema, type SchemaInput, type SchemaOutput } from './schema.ts'
export type {
  NamedProcedure,
  PrincipalFor,
  Procedure,
  ProcedureCall,
  ProcedureOptions,
  Procedures,
  Service,
} from './service.ts'
export type { RedisPublisher, RedisSubscriber, SettingsRedis } from './settings/announcements.ts'
export { createSettings, type ChangeOptions, type Settings } from './settings/create-settings.ts'
export { settingsDefaults, type SettingsOptions } from './settings/options.ts'
export type { SettingsClient, SettingsPool, SettingsQuery } from './settings/pool.ts'
export { settingsSchemaSql } from './settings/schema-sql.ts'
export type { SettingChange } from './settings/store.ts'
export { parseSize, type Size } from './size.ts'
export type {
  DevOptions,
  ProbeOptions,
  ProcessEntry,
  RequirementOptions,
  ResolvedProcess,
  SetupContext,
  ShutdownOptions,
  System,
  SystemOptions,
  TopologyOptions,
} from './system.ts'
export type {
  HttpPlugin,
  RunningTransport,
  SocketConnection,
  SocketProtocol,
  SocketSession,
  StopReason,
  Transport,
  TransportHost,
} from './transport.ts'
export { withServices, type TypedDefinitions } from './with-services.ts'
