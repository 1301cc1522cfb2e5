import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Metrics } from './metrics.ts'

/** Adds what Node tells about the process: memory, processor time, garbage collection, event loop, handles. */
export function includeNodeMetrics(metrics: Metrics): Disposable {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  metrics.include(() => registry.metrics())
  return { [Symbol.dispose]: () => registry.clear() }
}
