import type { AccessRule, Logger } from '@quintet/core'
import type { HealthChecks, Operation } from '@quintet/core/kit'
import type { EventLoopWatch } from '../performance/event-loop.ts'
import { metricsContentType } from '../metrics/create-metrics.ts'
import type { Caller } from './operator.ts'
import type { PerformanceMonitor } from '../performance/performance-report.ts'
import type { ResolvedProbeOptions } from './probe-options.ts'

/** What a probe answers, before any surface has written it. */
export interface ProbeAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What the answers are made from. */
export interface ProbeSubject {
  readonly about: Readonly<Record<string, string | number>>
  readonly health: HealthChecks
  readonly eventLoop: EventLoopWatch
  readonly performance: PerformanceMonitor
  readonly logger: Logger
}

const openPaths = ['/livez', '/ok', '/readyz', '/startupz']
const operatorPaths = ['/health', '/metrics']
const paths = [...openPaths, ...operatorPaths]

/** The probes as ways in. They are answered before the pipeline, by their own guard; nothing decides by these rules. */
export function probeOperations(prefix: string): readonly Operation[] {
  const operators: AccessRule = { allow: () => false, description: 'operators' }
  const way = (path: string, access: AccessRule): Operation => ({
    surface: 'route',
    name: `GET ${prefix}${path}`,
    access,
    freshness: undefined,
    timeout: 0,
  })
  return [
    ...openPaths.map((path) => way(path, 'public')),
    ...operatorPaths.map((path) => way(path, operators)),
  ]
}

/** Answers one request; undefined for a path that is no probe. */
export type AnswerProbe = (method: string, path: string, caller: Caller) => Promise<ProbeAnswer> | undefined

/** Makes the answers of all probes about one process. */
export function createProbeAnswers(options: ResolvedProbeOptions, subject: ProbeSubject): AnswerProbe {
  const { health, eventLoop, performance, about, logger } = subject

  const answer = async (path: string, caller: Caller): Promise<ProbeAnswer> => {
    switch (path) {
      case '/livez':
      case '/ok':
        return verdict(eventLoop.read().p50 <= options.maxEventLoopDelay ? 'pass' : 'fail')
      case '/startupz':
        return verdict(health.started ? 'pass' : 'fail')
      case '/readyz':
        return verdict(health.started && health.accepting ? (await health.report()).status : 'fail')
      default: {
        const decision = options.decide(caller)
        if (decision !== 'granted') return refusal(decision)
        return path === '/metrics' ? await showMetrics() : await showHealth()
      }
    }
  }

  const showHealth = async (): Promise<ProbeAnswer> => {
    const report = await health.report()
    const status = health.started && health.accepting ? report.status : 'fail'
    const body = {
      status,
      ...about,
      started: health.started,
      accepting: health.accepting,
      checks: report.checks,
      performance: performance.report(),
    }
    return json(status === 'fail' ? 503 : 200, body)
  }

  const showMetrics = async (): Promise<ProbeAnswer> => ({
    status: 200,
    headers: { 'content-type': metricsContentType, 'cache-control': 'no-store' },
    body: await options.metrics.scrape(),
  })

  return (method, fullPath, caller) => {
    if (!fullPath.startsWith(options.prefix)) return undefined
    const path = fullPath.slice(options.prefix.length)
    if (!paths.includes(path)) return undefined
    if (method !== 'GET' && method !== 'HEAD') {
      const { headers, ...rest } = problem(405, 'Method Not Allowed', 'Probes are read with GET or HEAD.')
      return Promise.resolve({ ...rest, headers: { ...headers, allow: 'GET, HEAD' } })
    }
    return answer(path, caller).catch((error: unknown) => {
      logger.error({ err: error, path }, 'a probe could not be answered')
      return verdict('fail')
    })
  }
}

function verdict(status: 'pass' | 'warn' | 'fail'): ProbeAnswer {
  return json(status === 'fail' ? 503 : 200, { status })
}

function json(status: number, body: unknown): ProbeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify(body),
  }
}

function refusal(decision: 'unauthenticated' | 'forbidden'): ProbeAnswer {
  if (decision === 'forbidden') return problem(403, 'Forbidden', 'This is for operators.')
  const { headers, ...rest } = problem(401, 'Unauthorized', 'This is for operators, who bring a token.')
  return { ...rest, headers: { ...headers, 'www-authenticate': 'Bearer realm="operators"' } }
}

/** RFC 9457. */
function problem(status: number, title: string, detail: string): ProbeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
    body: JSON.stringify({ type: 'about:blank', title, status, detail }),
  }
}
