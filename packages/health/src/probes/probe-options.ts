import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { createMetrics } from '../metrics/create-metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { createOperatorGuard, type Caller, type OperatorDecision, type OperatorOptions } from './operator.ts'

export interface ProbeOptions {
  /** Who may read `/health` and `/metrics`. @defaultValue callers on this machine only */
  readonly operators?: OperatorOptions
  /** `/livez` fails while half of the turns of the event loop come later than this. @defaultValue `'1s'` */
  readonly maxEventLoopDelay?: Duration
  /** The registry that `/metrics` shows. @defaultValue a new one */
  readonly metrics?: Metrics
  /** Also shows what Node tells about the process. @defaultValue true */
  readonly nodeMetrics?: boolean
  /** Put in front of every path, e.g. `/internal`. @defaultValue `''` */
  readonly prefix?: string
}

/** What applies where {@link ProbeOptions} says nothing. */
export const probeDefaults = Object.freeze({
  maxEventLoopDelay: '1s',
  nodeMetrics: true,
  prefix: '',
} as const)

export const probeOptionKeys: readonly string[] = [
  'operators',
  'maxEventLoopDelay',
  'metrics',
  'nodeMetrics',
  'prefix',
]

export interface ResolvedProbeOptions {
  readonly decide: (caller: Caller) => OperatorDecision
  readonly maxEventLoopDelay: number
  readonly metrics: Metrics
  readonly nodeMetrics: boolean
  readonly prefix: string
}

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveProbeOptions(options: ProbeOptions, path: string): ResolvedProbeOptions {
  refuseUnknownKeys(options, probeOptionKeys, path)
  const prefix = options.prefix ?? probeDefaults.prefix
  if (prefix !== '' && !/^(?:\/[\w\-.~]+)+$/.test(prefix)) {
    throw new TypeError(
      `${path}.prefix: ${JSON.stringify(prefix)} must be a path such as "/internal", without a slash at its end.`,
    )
  }
  return {
    decide: createOperatorGuard(options.operators, `${path}.operators`),
    maxEventLoopDelay: parseDuration(
      options.maxEventLoopDelay ?? probeDefaults.maxEventLoopDelay,
      `${path}.maxEventLoopDelay`,
    ),
    metrics: options.metrics ?? createMetrics(),
    nodeMetrics: options.nodeMetrics ?? probeDefaults.nodeMetrics,
    prefix,
  }
}
