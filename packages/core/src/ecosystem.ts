export { defineEcosystem, ecosystemDefaults, isEcosystem } from './ecosystem/define-ecosystem.ts'
export {
  assertShutdownOrder,
  dependencyProblems,
  sortByDependencies,
  type Dependent,
} from './ecosystem/dependency-order.ts'
export type {
  BackoffOptions,
  CommandHealthOptions,
  CommandRequirements,
  Ecosystem,
  EcosystemApp,
  EcosystemAppOptions,
  EcosystemCommand,
  EcosystemCommandHealth,
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
  SupervisorLossPolicy,
  WatchOptions,
} from './ecosystem/ecosystem.ts'
