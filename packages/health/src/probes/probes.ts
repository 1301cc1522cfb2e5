import type { HttpPlugin } from '@quintet/core/kit'
import { observeCalls } from '../metrics/call-metrics.ts'
import { watchEventLoop } from '../performance/event-loop.ts'
import { includeNodeMetrics } from '../metrics/node-metrics.ts'
import { createPerformanceMonitor } from '../performance/performance-report.ts'
import { createProbeAnswers, probeOperations, type AnswerProbe } from './probe-answers.ts'
import { resolveProbeOptions, type ProbeOptions } from './probe-options.ts'
import { writeProbe } from './write-answer.ts'

/**
 * Probes and metrics for the HTTP transport of a process.
 *
 * - `/livez`, `/ok`: 200 unless the event loop is stuck. Asks no dependency.
 * - `/readyz`: 200 when the process takes work and no critical check fails, else 503.
 * - `/startupz`: 200 once everything listens.
 * - `/health` (checks, performance report) and `/metrics` (Prometheus text): for operators only.
 *
 * One value serves one process.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function probes(options: ProbeOptions = {}): HttpPlugin {
  const resolved = resolveProbeOptions(options, 'probes')
  let answerProbe: AnswerProbe | undefined
  return {
    name: 'probes',
    operations: probeOperations(resolved.prefix),
    start(host) {
      if (answerProbe !== undefined)
        throw new TypeError('probes: is started already. Each process needs a value of its own.')
      const eventLoop = host.lifecycle.use(watchEventLoop())
      const performance = createPerformanceMonitor(eventLoop)
      host.pipeline.addObserver(performance)
      host.pipeline.addObserver(observeCalls(resolved.metrics))
      resolved.metrics.gauge('quintet_calls_active', {
        help: 'Calls in progress.',
        collect: (gauge) => gauge.set({}, host.pipeline.active),
      })
      if (resolved.nodeMetrics) host.lifecycle.use(includeNodeMetrics(resolved.metrics))
      const about = {
        system: host.system.name,
        version: host.system.version,
        process: host.process,
        instance: host.instance,
      }
      answerProbe = createProbeAnswers(resolved, {
        about,
        health: host.health,
        eventLoop,
        performance,
        logger: host.logger,
      })
    },
    handle(request, response) {
      return answerProbe !== undefined && writeProbe(answerProbe, request, response)
    },
  }
}
