export { assertAccessRule, decideAccess, describeAccess } from './access/access-rule.ts'
export { accessOption } from './access/access-option.ts'
export type { AuthenticateOptions, SessionEnd } from './access/auth-manager.ts'
export { noCredentials, type Credentials } from './access/credentials.ts'
export type { AnonymousPrincipal } from './access/principal.ts'
export { systemClock, type Clock } from './clock.ts'
export { describeConfig, type ConfigEntry } from './config/describe-config.ts'
export { loadConfig, type LoadConfigOptions, type LoadedConfig } from './config/load-config.ts'
export type { ConfigProblem } from './config/merge.ts'
export type { ConfigContext, ConfigTree } from './config/source.ts'
export { deepFreeze } from './definition/deep-freeze.ts'
export { isProcessDefinition, type DefineProcess } from './definition/define-process.ts'
export { isSystem, systemDefaults } from './definition/define-system.ts'
export { brandDefinition, isDefinition } from './definition/definition-brand.ts'
export type { DevOptions, ProbeOptions, ResolvedProbe, ResolvedProcess } from './definition/system.ts'
export type { TypedDefinitions } from './definition/with-services.ts'
export { isErrorKind, toQuintetError, type CoreErrorCode } from './errors.ts'
export {
  createHealthChecks,
  healthCheckDefaults,
  type HealthChecksOptions,
  type OwnedHealthChecks,
} from './lifecycle/create-health-checks.ts'
export { createLifecycle, type LifecycleOptions, type OwnedLifecycle } from './lifecycle/create-lifecycle.ts'
export type { CheckResult, HealthChecks } from './lifecycle/health-checks.ts'
export type { Phase } from './lifecycle/lifecycle.ts'
export { isProcessAlive } from './lifecycle/process-alive.ts'
export { assertName } from './options/assert-name.ts'
export { parseDuration } from './options/duration.ts'
export { toJsonSchema, type JsonSchema } from './options/json-schema.ts'
export { describeUnknownKey, nearestKey, refuseUnknownKeys } from './options/known-keys.ts'
export type { Option } from './options/option.ts'
export { option } from './options/options.ts'
export type { OptionSpec, ResolvedOptions } from './options/option-spec.ts'
export { readOptions, type NoteProblem, type ReadOptionsSettings } from './options/read-options.ts'
export { schemaOption } from './options/schema-option.ts'
export { parseSize } from './options/size.ts'
export { unknownClient } from './pipeline/client-info.ts'
export { createPipeline } from './pipeline/create-pipeline.ts'
export type { InvocationObserver, SettledCall } from './pipeline/invocation.ts'
export type { Operation, Surface } from './pipeline/operation.ts'
export {
  pipelineDefaults,
  type CallSteps,
  type IncomingCall,
  type Pipeline,
  type PipelineOptions,
} from './pipeline/pipeline.ts'
export { aborted } from './timing/aborted.ts'
export { delay } from './timing/delay.ts'
export { createLiveness, type Liveness, type LivenessOptions } from './timing/liveness.ts'
export { TimeLimit, type Timed } from './timing/time-limit.ts'
export { afterReads, longestTimer } from './timing/timers.ts'
export { orAborted, within, type TimedWork } from './timing/within.ts'
export {
  checkOutput,
  callProcedure,
  findProcedure,
  streamProcedure,
  type ProcedureHost,
  type StreamSteps,
} from './procedures/call-procedure.ts'
export {
  procedureDefaults,
  type CallProcedureOptions,
  type ClientInput,
  type DefineProcedure,
  type HandlerInput,
  type StreamProcedureOptions,
} from './procedures/define-procedure.ts'
export { routeOperation, type DefineRoute } from './procedures/define-route.ts'
export { nameProcedures, procedureOperation } from './procedures/define-service.ts'
export type { Procedures } from './procedures/procedure.ts'
export type { RouteMethod } from './procedures/route.ts'
export { validate, type InputIssue } from './procedures/schema.ts'
export type { NamedProcedure } from './procedures/service.ts'
export { deriveKey } from './security/derive-key.ts'
export { safeEqual } from './security/safe-equal.ts'
export { isSecret, revealText, type SecretText } from './security/secret.ts'
export {
  endOfJsonString,
  parseStrictJson,
  strictJsonDefaults,
  type StrictJsonOptions,
} from './security/strict-json.ts'
export type { HttpPlugin } from './transport/http-plugin.ts'
export type { CallOptions, ForwardedCall, Links } from './transport/link.ts'
export type { SocketConnection, SocketProtocol, SocketSession } from './transport/socket-protocol.ts'
export type { RunningTransport, TransportHost } from './transport/transport.ts'
