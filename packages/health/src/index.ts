export { observeCalls } from './call-metrics.ts'
export { createHealth, type CreateHealthOptions, type Health } from './create-health.ts'
export { watchEventLoop, type EventLoopDelay, type EventLoopWatch } from './event-loop.ts'
export {
  createMetrics,
  metricsContentType,
  metricsDefaults,
  type Counter,
  type CounterOptions,
  type Gauge,
  type GaugeOptions,
  type Histogram,
  type HistogramOptions,
  type Labels,
  type Metrics,
  type MetricsOptions,
} from './metrics.ts'
export { operatorDefaults, type OperatorOptions, type SecretText } from './operator.ts'
export {
  createPerformanceMonitor,
  type OperationPerformance,
  type PerformanceMonitor,
  type PerformanceReport,
} from './performance-report.ts'
export { probeDefaults, type ProbeOptions } from './probe-options.ts'
export { probes } from './probes.ts'
export { HealthError, type HealthErrorCode } from './errors.ts'
export { gracefulShutdown, type GracefulShutdown } from './graceful-shutdown.ts'
export type { AnyServer } from './connection.ts'
export { shutdownDefaults, type ShutdownHook, type ShutdownOptions } from './shutdown-options.ts'
