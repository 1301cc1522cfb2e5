export { launchEcosystem } from './launch/launch-ecosystem.ts'
export { startEcosystem } from './launch/start-ecosystem.ts'
export type {
  EcosystemFailure,
  EcosystemRunOptions,
  LogSubscription,
  ReloadResult,
  RunningEcosystem,
} from './running/running-ecosystem.ts'
export type { EcosystemStatus, ProcessStatus, ServerStatus, Usage } from './running/ecosystem-status.ts'
export { OrchestratorError, type OrchestratorErrorCode } from './errors.ts'
export type { Sample } from './metrics/sampler.ts'
export { loadPlan } from './plan/load-plan.ts'
export type { Plan, PlannedApp, PlannedGateway, PlannedProcess, PlannedRoute } from './plan/plan.ts'
export { run, type RunOptions } from './runner/run.ts'
export { defaultStateDirectory } from './state/state-directory.ts'
export type { EcosystemEvent } from './running/ecosystem-events.ts'
export type { ProcessPhase } from './running/process-phase.ts'
