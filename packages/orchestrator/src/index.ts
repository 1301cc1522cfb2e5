export {
  launchEcosystem,
  startEcosystem,
  type EcosystemRunOptions,
  type RunningEcosystem,
} from './ecosystem.ts'
export type { EcosystemStatus, ProcessStatus, ServerStatus, Usage } from './ecosystem-status.ts'
export { OrchestratorError, type OrchestratorErrorCode } from './errors.ts'
export type { Sample } from './metrics/sampler.ts'
export { loadPlan } from './plan/load-plan.ts'
export type { Plan, PlannedApp, PlannedGateway, PlannedProcess, PlannedRoute } from './plan/plan.ts'
export { run, type RunOptions } from './runner/run.ts'
export { defaultStateDirectory } from './state/state-directory.ts'
export type { EcosystemEvent } from './supervisor/events.ts'
export type { ProcessPhase } from './supervisor/process-machine.ts'
