import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { createMetrics } from '../metrics/create-metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import {
  createOperatorGuard,
  operatorDefaults,
  operatorSpec,
  type Caller,
  type OperatorDecision,
  type OperatorOptions,
} from './operator.ts'

/** What every process with probes can set. */
export interface ProbeOptions {
  /** Who may read `/health` and `/metrics`. @defaultValue no one */
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

/** The options of `probes()`. */
export interface ProbesOptions extends ProbeOptions {
  readonly operators?: OperatorOptions & {
    /** A port on which every caller is an operator, so it must not be reachable for others; 0 for any. @defaultValue none */
    readonly port?: number
    /** The address of that port. @defaultValue `'127.0.0.1'` */
    readonly host?: string
  }
}

/** What applies where {@link ProbeOptions} says nothing. */
export const probeDefaults = Object.freeze({
  maxEventLoopDelay: '1s',
  nodeMetrics: true,
  prefix: '',
} as const)

export interface ResolvedProbeOptions {
  readonly decide: (caller: Caller) => OperatorDecision
  readonly maxEventLoopDelay: number
  readonly metrics: Metrics
  readonly nodeMetrics: boolean
  readonly prefix: string
}

export interface ResolvedProbesOptions extends ResolvedProbeOptions {
  readonly listener: { readonly port: number; readonly host: string } | undefined
}

export const probeSpec = {
  operators: option.nested(operatorSpec),
  maxEventLoopDelay: option.delay(probeDefaults.maxEventLoopDelay),
  metrics: option
    .collaborator<Metrics>(
      ['counter', 'gauge', 'histogram', 'include', 'scrape'],
      'metrics as createMetrics() makes them',
    )
    .optional()
    .map((metrics) => metrics ?? createMetrics()),
  nodeMetrics: option.boolean(probeDefaults.nodeMetrics),
  prefix: option.text(probeDefaults.prefix, {
    pattern: /^(?:\/[\w\-.~]+)*$/,
    expected: 'a path such as "/internal", without a slash at its end',
  }),
}

const probesSpec = {
  ...probeSpec,
  operators: option.nested({
    ...operatorSpec,
    port: option.port().optional(),
    host: option.host(operatorDefaults.host),
  }),
}

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveProbesOptions(options: ProbesOptions): ResolvedProbesOptions {
  const { operators, ...rest } = readOptions(options, probesSpec, 'probes')
  const { token, port, host } = operators
  return {
    ...rest,
    decide: createOperatorGuard(token),
    listener: port === undefined ? undefined : { port, host },
  }
}
