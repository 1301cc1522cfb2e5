import type { IncomingMessage, ServerResponse } from 'node:http'
import { type HealthCheck, type Logger } from '@quintet/core'
import { createHealthChecks, type HealthChecks, option, readOptions } from '@quintet/core/kit'
import { watchEventLoop } from '../performance/event-loop.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { includeNodeMetrics } from '../metrics/node-metrics.ts'
import { createPerformanceMonitor, type PerformanceMonitor } from '../performance/performance-report.ts'
import { createProbeAnswers } from './probe-answers.ts'
import { createOperatorGuard } from './operator.ts'
import { probeSpec, type ProbeOptions } from './probe-options.ts'
import { writeProbe } from './write-answer.ts'

export interface CreateHealthOptions extends ProbeOptions {
  readonly checks?: readonly HealthCheck[]
  /** Fields that `/health` shows, e.g. name and version. */
  readonly about?: Readonly<Record<string, string | number>>
  /** Told when a probe cannot be answered. @defaultValue silent */
  readonly logger?: Logger
}

/** The health of a process that does not run in the framework. */
export interface Health extends HealthChecks, Disposable {
  readonly metrics: Metrics
  readonly performance: PerformanceMonitor
  /** The process takes work from now on. */
  markStarted(): void
  /** Not ready from now on; `gracefulShutdown` calls it. */
  stopAccepting(): void
  /** Answers a probe on a Node server; false for any other request, which is left alone. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  /** The same for a server that only operators can reach, e.g. one that listens on a port of its own. */
  handleOperator(request: IncomingMessage, response: ServerResponse): boolean
  /** Answers a probe; undefined for any other request. */
  fetch(request: Request): Promise<Response | undefined>
  /** Stops watching the process. */
  close(): void
}

const spec = {
  ...probeSpec,
  checks: option.list(option.collaborator<HealthCheck>(['check'], 'a health check')),
  about: option.record(option.either(option.text(), option.number())),
  logger: option.logger(),
}

/**
 * Makes checks, probes and metrics for an Express, Fastify, Hono or plain Node server.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const health = createHealth({ checks: [{ name: 'database', check: () => pool.query('select 1').then(() => 'ready') }] })
 * createServer((request, response) => health.handle(request, response) || shop(request, response)).listen(3000)
 */
export function createHealth(options: CreateHealthOptions = {}): Health {
  const { checks, about, logger, operators, ...rest } = readOptions(options, spec, 'createHealth')
  const resolved = { ...rest, decide: createOperatorGuard(operators.token) }
  const health = createHealthChecks({ checks })
  const eventLoop = watchEventLoop()
  const performance = createPerformanceMonitor(eventLoop)
  const nodeMetrics = resolved.nodeMetrics ? includeNodeMetrics(resolved.metrics) : undefined
  const answerProbe = createProbeAnswers(resolved, { about, health, eventLoop, performance, logger })
  const close = (): void => {
    eventLoop[Symbol.dispose]()
    nodeMetrics?.[Symbol.dispose]()
  }
  return {
    get started() {
      return health.started
    },
    get accepting() {
      return health.accepting
    },
    metrics: resolved.metrics,
    performance,
    add: (check) => health.add(check),
    report: () => health.report(),
    markStarted: () => health.markStarted(),
    stopAccepting: () => health.stopAccepting(),
    handle: (request, response) => writeProbe(answerProbe, request, response),
    handleOperator: (request, response) => writeProbe(answerProbe, request, response, true),
    async fetch(request) {
      const caller = { headers: Object.fromEntries(request.headers) }
      const answer = await answerProbe(request.method, new URL(request.url).pathname, caller)
      if (answer === undefined) return undefined
      return new Response(request.method === 'HEAD' ? null : answer.body, {
        status: answer.status,
        headers: answer.headers,
      })
    },
    close,
    [Symbol.dispose]: close,
  }
}
