import type { HttpPlugin } from '@quintet/core/kit'
import { observeCalls } from '../metrics/call-metrics.ts'
import { watchEventLoop } from '../performance/event-loop.ts'
import { includeNodeMetrics } from '../metrics/node-metrics.ts'
import { createPerformanceMonitor } from '../performance/performance-report.ts'
import { createProbeAnswers, probeOperations, type AnswerProbe } from './probe-answers.ts'
import { resolveProbesOptions, type ProbesOptions } from './probe-options.ts'
import { listenForOperators } from './operator-listener.ts'
import { writeProbe } from './write-answer.ts'

/**
 * Probes and metrics for the HTTP transport of a process.
 *
 * - `/livez`, `/ok`: 200 unless the event loop is stuck. Asks no dependency.
 * - `/readyz`: 200 when the process takes work and no critical check fails, else 503.
 * - `/startupz`: 200 once everything listens.
 * - `/health` (checks, performance report) and `/metrics` (Prometheus text): for operators only.
 *
 * Operators bring a token, or come over a port of their own. One value serves one process.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * http({ port: 3000, plugins: [probes({ operators: { port: 9464 } })] })
 */
export function probes(options: ProbesOptions = {}): HttpPlugin {
  const resolved = resolveProbesOptions(options)
  let answerProbe: AnswerProbe | undefined
  return {
    name: 'probes',
    operations: probeOperations(resolved.prefix),
    async start(host) {
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
      if (resolved.listener === undefined) return
      const listener = host.lifecycle.use(await listenForOperators(answerProbe, resolved.listener))
      host.logger.info({ 'server.port': listener.port }, 'operators are answered on a port of their own')
    },
    handle(request, response) {
      return answerProbe !== undefined && writeProbe(answerProbe, request, response)
    },
  }
}
