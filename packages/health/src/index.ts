export { observeCalls } from './metrics/call-metrics.ts'
export { createHealth, type CreateHealthOptions, type Health } from './probes/create-health.ts'
export { watchEventLoop, type EventLoopDelay, type EventLoopWatch } from './performance/event-loop.ts'
export { createMetrics, metricsContentType, metricsDefaults } from './metrics/create-metrics.ts'
export type {
  Counter,
  CounterOptions,
  Gauge,
  GaugeOptions,
  Histogram,
  HistogramOptions,
  Labels,
  Metrics,
  MetricsOptions,
} from './metrics/metrics.ts'
export { operatorDefaults, type OperatorOptions } from './probes/operator.ts'
export {
  createPerformanceMonitor,
  type OperationPerformance,
  type PerformanceMonitor,
  type PerformanceReport,
} from './performance/performance-report.ts'
export { probeDefaults, type ProbeOptions, type ProbesOptions } from './probes/probe-options.ts'
export { probes } from './probes/probes.ts'
export { HealthError, type HealthErrorCode } from './errors.ts'
export { gracefulShutdown, type GracefulShutdown } from './shutdown/graceful-shutdown.ts'
export type { AnyServer } from '@quintet/core/http'
export {
  shutdownDefaults,
  type ShutdownHook,
  type ShutdownOptions,
  type SocketOwner,
} from './shutdown/shutdown-options.ts'
